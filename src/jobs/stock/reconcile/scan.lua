-- The next keys that match the pattern ARGV[2] after the position ARGV[1]: a bounded step through all keys of the database.
-- Those of more than ARGV[4] bytes are left out: they are not ours.
local step = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local keys = {}
for _, key in ipairs(step[2]) do
    if #key <= tonumber(ARGV[4]) then keys[#keys + 1] = key end
end
return { step[1], keys }
