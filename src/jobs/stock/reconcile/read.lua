-- What is stored at each of KEYS, without what is too long to be a number: `n` for nothing, `t` and the type of what is not
-- a text, `l` for a long text, `s` and the text.
local found = {}
for place, key in ipairs(KEYS) do
    local kind = redis.call('TYPE', key)['ok']
    if kind == 'none' then
        found[place] = 'n'
    elseif kind ~= 'string' then
        found[place] = 't' .. kind
    elseif redis.call('STRLEN', key) > 20 then
        found[place] = 'l'
    else
        found[place] = 's' .. redis.call('GET', key)
    end
end
return found
