-- What each of the reservations KEYS holds: for how many seconds nobody has touched it, -1 where that is not known, then
-- products and their units, one after the other. Nothing of what is not a hash, or is too large to be one order's. The time
-- is asked for first: what follows touches it.
local found = {}
for place, key in ipairs(KEYS) do
    local idle = redis.pcall('OBJECT', 'IDLETIME', key)
    local one = { type(idle) == 'number' and idle or -1 }
    if redis.call('TYPE', key)['ok'] == 'hash' and redis.call('HLEN', key) <= 1000 then
        for _, text in ipairs(redis.call('HGETALL', key)) do one[#one + 1] = text end
    end
    found[place] = one
end
return found
