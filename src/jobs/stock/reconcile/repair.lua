-- Replaces the stock at KEYS[1] if it is still what it was: ARGV[1] is `none` or `string`, ARGV[2] the text that was there,
-- ARGV[3] the new one, or nothing to delete it. The product ARGV[4] is taken out of the reservations KEYS[2] and so on, whose
-- units are part of the new stock, so that nobody gives them back again.
local kind = redis.call('TYPE', KEYS[1])['ok']
if kind ~= ARGV[1] then return { 'MOVED' } end
if kind == 'string' then
    if redis.call('STRLEN', KEYS[1]) ~= #ARGV[2] or redis.call('GET', KEYS[1]) ~= ARGV[2] then return { 'MOVED' } end
end
if ARGV[3] == '' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[3], 'KEEPTTL')
end
for place = 2, #KEYS do redis.call('HDEL', KEYS[place], ARGV[4]) end
return { 'DONE' }
