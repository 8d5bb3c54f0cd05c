-- What each of the reservations KEYS holds, after the time of this server in seconds: products and their units, one after the
-- other; `LARGE` if it has more than ARGV[1] of them or takes more than ARGV[2] bytes, which are asked for before any of it is
-- read; nothing if it is not a hash.
local found = { 0 }
for place, key in ipairs(KEYS) do
    local one = {}
    if redis.call('TYPE', key)['ok'] == 'hash' then
        if redis.call('HLEN', key) > tonumber(ARGV[1])
            or redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '0') > tonumber(ARGV[2]) then
            one = 'LARGE'
        else
            one = redis.call('HGETALL', key)
        end
    end
    found[place + 1] = one
end
found[1] = tonumber(redis.call('TIME')[1])
return found
