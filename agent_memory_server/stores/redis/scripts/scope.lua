-- What became of a selection of memories since a revision of it that somebody knows.
-- ARGV: key of the statistics, key of the changes, prefix of a memory's key, tag, life and revision that are known, how many
-- changes are kept, then the fields that are wanted of each memory.
-- Answers {life, revision, documents, changes, scrubbed}. changes is false when they are not all noted any more, else a list of a
-- memory's digest followed by its fields (none of them when it is gone), for each that changed. scrubbed: how often text left a
-- history of this tenant.
local held = redis.call("HMGET", ARGV[1], ARGV[4] .. ":k", ARGV[4] .. ":r", ARGV[4] .. ":d", "scrubbed")
local life, revision, documents = held[1] or "", tonumber(held[2] or "0"), tonumber(held[3] or "0")
local scrubbed, known = tonumber(held[4] or "0"), tonumber(ARGV[6])
if life ~= ARGV[5] or revision < known then return {life, revision, documents, false, scrubbed} end
if revision == known then return {life, revision, documents, {}, scrubbed} end
local changed = redis.call("ZRANGEBYSCORE", ARGV[2], "(" .. ARGV[6], "+inf")
if redis.call("ZCARD", ARGV[2]) >= tonumber(ARGV[7]) then
    -- Some were let go: of revisions before the oldest that is left.
    local oldest = redis.call("ZRANGE", ARGV[2], 0, 0, "WITHSCORES")
    if tonumber(oldest[2]) > known + 1 then return {life, revision, documents, false, scrubbed} end
end
local answer = {}
for _, digest in ipairs(changed) do
    local row = redis.call("HMGET", ARGV[3] .. digest, unpack(ARGV, 8))
    table.insert(row, 1, digest)
    answer[#answer + 1] = row
end
return {life, revision, documents, answer, scrubbed}
