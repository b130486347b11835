-- What is known of some memories: their records of today and their whole histories, as one answer instead of two each.
-- ARGV: pairs of a memory's key and the key of its history.
-- Answers a pair of each: the document (false: the memory is gone), and names and values of the history.
local answer = {}
for place = 1, #ARGV, 2 do
    answer[#answer + 1] = {redis.call("HGET", ARGV[place], "doc"), redis.call("HGETALL", ARGV[place + 1])}
end
return answer
