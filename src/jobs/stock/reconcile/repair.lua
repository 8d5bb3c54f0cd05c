-- Replaces the stock at KEYS[1] if it is still what it was: ARGV[1] is `none` or `string`, ARGV[2] the text that was there,
-- ARGV[3] the new one, or nothing to delete it. The product ARGV[4] is taken out of the reservations KEYS[2] and so on, whose
-- units are part of the new stock, so that nobody gives them back again: ARGV[5] and so on are how many each of them holds.
-- Everything is looked at before anything is written, because what a script has written stays if it fails afterwards.
local function kind(key) return redis.call('TYPE', key)['ok'] end

if kind(KEYS[1]) ~= ARGV[1] then return { 'MOVED' } end
if ARGV[1] == 'string' then
    if redis.call('STRLEN', KEYS[1]) ~= #ARGV[2] or redis.call('GET', KEYS[1]) ~= ARGV[2] then return { 'MOVED' } end
end
for place = 2, #KEYS do
    local key, units = KEYS[place], ARGV[place + 3]
    if kind(key) ~= 'hash' then return { 'MOVED' } end
    if redis.call('HSTRLEN', key, ARGV[4]) ~= #units or redis.call('HGET', key, ARGV[4]) ~= units then return { 'MOVED' } end
end

if ARGV[3] == '' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[3], 'KEEPTTL')
end
for place = 2, #KEYS do redis.call('HDEL', KEYS[place], ARGV[4]) end
return { 'DONE' }
