-- Whether any of these keys is there.
for _, key in ipairs(KEYS) do
    if redis.call('TYPE', key)['ok'] ~= 'none' then return 1 end
end
return 0
