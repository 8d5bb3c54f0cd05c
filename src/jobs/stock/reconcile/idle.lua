-- For how many seconds nobody has touched each of KEYS, -1 where that is not known, after the time of this server in seconds.
-- Asking touches none of them; reading what is there would.
local found = { tonumber(redis.call('TIME')[1]) }
for place, key in ipairs(KEYS) do
    local idle = redis.pcall('OBJECT', 'IDLETIME', key)
    found[place + 1] = type(idle) == 'number' and idle or -1
end
return found
