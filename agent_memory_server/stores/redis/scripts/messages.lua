-- A session and some of its messages as of one moment.
-- ARGV: key of the head, key of the rest, key of the messages, then the command that names the sequences.
-- Answers {head, rest, sequences, messages}; head is false when there is no such session.
local head = redis.call("GET", ARGV[1])
if not head then return {false} end
local rest = redis.call("GET", ARGV[2])
local command = {}
for place = 4, #ARGV do command[place - 3] = ARGV[place] end
local sequences = redis.call(unpack(command))
local messages = {}
for first = 1, #sequences, 4000 do
    local last = math.min(first + 3999, #sequences)
    for _, message in ipairs(redis.call("HMGET", ARGV[3], unpack(sequences, first, last))) do
        messages[#messages + 1] = message
    end
end
return {head, rest, sequences, messages}
