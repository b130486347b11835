-- Applies a transaction that was prepared outside: every value that a decision was based on is compared first, and only
-- when all of them are still the same is anything written. So it is atomic, and nothing of it happens otherwise.
--
-- ARGV: sequence key, token that stands for the sequence, number of checks, checks, number of commands, commands.
-- A check:   kind, key, count of values, values
-- A command: flag, count of arguments, arguments
--   flag "s": the token stands for the sequence; "a": the last argument begins with "#<number>", which stands for the arrival
--   (20 digits: the sequence, then the number); "-" otherwise
-- Beside Redis's own commands:
--   RENAME leaves an absent key alone; HMERGE moves all fields of one hash into another
--   HFORGET drops the fields of a hash that begin with a text
--   COUNT statistics, changes, token, kept, then for each selection: tag, documents, terms, count of memories, memories
--     adds to the counts of a selection, gives it a new revision and notes which memories changed with it (the latest "kept")
-- Answers {"ok", sequence} or {"changed", number of the check that failed}.
local at = 4
local checks = tonumber(ARGV[3])
local function same(kind, key, values)
    if kind == "value" then
        local held = redis.call("GET", key)
        if #values == 0 then return held == false end
        return held == values[1]
    elseif kind == "field" then
        local held = redis.call("HGET", key, values[1])
        if #values == 1 then return held == false end
        return held == values[2]
    elseif kind == "fields" then
        for _, name in ipairs(values) do
            if redis.call("HEXISTS", key, name) == 1 then return false end
        end
        return true
    elseif kind == "members" then
        if redis.call("SCARD", key) ~= #values then return false end
        for _, member in ipairs(values) do
            if redis.call("SISMEMBER", key, member) == 0 then return false end
        end
        return true
    elseif kind == "length" then
        return redis.call("HLEN", key) == tonumber(values[1])
    end
    return false
end
local function count(arguments, size)
    local statistics, kept = arguments[2], -1 - tonumber(arguments[5])
    local place = 6
    while place <= size do
        local tag, documents, terms = arguments[place], arguments[place + 1], arguments[place + 2]
        local memories = tonumber(arguments[place + 3])
        if documents ~= "0" then redis.call("HINCRBY", statistics, tag .. ":d", documents) end
        if terms ~= "0" then redis.call("HINCRBY", statistics, tag .. ":t", terms) end
        local revision = redis.call("HINCRBY", statistics, tag .. ":r", 1)
        -- A counter that begins anew (somebody emptied the database) is another counter.
        if revision == 1 then redis.call("HSET", statistics, tag .. ":k", arguments[4]) end
        local changes = arguments[3] .. tag
        for each = place + 4, place + 3 + memories do
            redis.call("ZADD", changes, revision, arguments[each])
        end
        redis.call("ZREMRANGEBYRANK", changes, 0, kept)
        place = place + 4 + memories
    end
end
for number = 1, checks do
    local kind, key, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
    local values = {}
    for place = 1, count do values[place] = ARGV[at + 2 + place] end
    if not same(kind, key, values) then return {"changed", number} end
    at = at + 3 + count
end
local token, sequence = ARGV[2], 0
if token ~= "" then sequence = redis.call("INCR", ARGV[1]) end
local commands = tonumber(ARGV[at])
at = at + 1
for _ = 1, commands do
    local flag, count_of = ARGV[at], tonumber(ARGV[at + 1])
    local arguments = {}
    for place = 1, count_of do
        local argument = ARGV[at + 1 + place]
        if flag == "s" then argument = string.gsub(argument, token, tostring(sequence)) end
        arguments[place] = argument
    end
    if flag == "a" then
        local number, rest = string.match(arguments[count_of], "^#(%d+)(.*)$")
        arguments[count_of] = string.format("%015d%05d", sequence, tonumber(number)) .. rest
    end
    if arguments[1] == "RENAME" then
        if redis.call("EXISTS", arguments[2]) == 1 then redis.call("RENAME", arguments[2], arguments[3]) end
    elseif arguments[1] == "HMERGE" then
        local held = redis.call("HGETALL", arguments[2])
        for place = 1, #held, 2 do redis.call("HSET", arguments[3], held[place], held[place + 1]) end
        redis.call("DEL", arguments[2])
    elseif arguments[1] == "HFORGET" then
        for _, name in ipairs(redis.call("HKEYS", arguments[2])) do
            if string.sub(name, 1, #arguments[3]) == arguments[3] then redis.call("HDEL", arguments[2], name) end
        end
    elseif arguments[1] == "COUNT" then
        count(arguments, count_of)
    else
        redis.call(unpack(arguments))
    end
    at = at + 2 + count_of
end
return {"ok", sequence}
