-- Gives back what an order has reserved, once: a second run finds no reservation and does nothing. Everything is looked at
-- before anything is written, because what a script has written stays if it fails afterwards.
-- KEYS[1] is the reservation, a hash of products and their units. ARGV[1] and ARGV[2] are what stands before and after a
-- product in the key of its stock.
local function kind(key) return redis.call('TYPE', key)['ok'] end

local reservation = kind(KEYS[1])
if reservation == 'none' then return { 'GONE' } end
if reservation ~= 'hash' then return { 'BAD', KEYS[1], 'is a ' .. reservation .. ', not a hash' } end
if redis.call('HLEN', KEYS[1]) > 10000 then return { 'BAD', KEYS[1], 'has more than 10000 products' } end

local back, units, without_stock = {}, 0, 0
for _, product in ipairs(redis.call('HKEYS', KEYS[1])) do
    if redis.call('HSTRLEN', KEYS[1], product) > 9 then return { 'BAD', KEYS[1], 'holds what is not a number of units' } end
    local reserved = redis.call('HGET', KEYS[1], product)
    if not string.find(reserved, '^%d+$') then return { 'BAD', KEYS[1], 'holds what is not a number of units' } end
    local stock = ARGV[1] .. product .. ARGV[2]
    local stored = kind(stock)
    if stored == 'none' then
        -- Made from this alone, it would say that nothing else is in stock.
        without_stock = without_stock + 1
    elseif stored ~= 'string' then
        return { 'BAD', stock, 'is a ' .. stored .. ', not a number' }
    elseif redis.call('STRLEN', stock) > 15 or not string.find(redis.call('GET', stock), '^-?%d+$') then
        return { 'BAD', stock, 'is not a number' }
    else
        back[#back + 1] = { stock, reserved }
        units = units + tonumber(reserved)
    end
end

for _, one in ipairs(back) do redis.call('INCRBY', one[1], one[2]) end
redis.call('DEL', KEYS[1])
return { 'RELEASED', units, without_stock }
