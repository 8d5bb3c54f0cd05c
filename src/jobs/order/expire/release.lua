-- Gives back what an order has reserved, once: a second run finds no reservation and does nothing. Everything is looked at
-- before anything is written, because what a script has written stays if it fails afterwards; what Redis refuses all the same
-- (a user who may not delete) is taken back.
-- KEYS are what the reservation, a hash of products and their units, may be called: the first that is there is meant. ARGV are,
-- for each of them, what stands before and after a product in the key of its stock; the others' are asked if it has none.
local function kind(key) return redis.call('TYPE', key)['ok'] end
-- As Redis itself writes a number. INCRBY counts with no other: not with `007`, not with `-0`.
local function is_number(text) return text == '0' or string.find(text, '^-?[1-9]%d*$') ~= nil end

local place, reservation = 0, 'none'
while reservation == 'none' do
    place = place + 1
    if not KEYS[place] then return { 'GONE' } end
    reservation = kind(KEYS[place])
end
local key = KEYS[place]
if reservation ~= 'hash' then return { 'BAD', key, 'is a ' .. reservation .. ', not a hash' } end
-- The key of a product's stock, and what is there.
local function stock_of(product)
    local named = function(at) return ARGV[2 * at - 1] .. product .. ARGV[2 * at] end
    for at = 0, #KEYS do
        local stock = named(at == 0 and place or at)
        local stored = kind(stock)
        if stored ~= 'none' then return stock, stored end
    end
    return named(place), 'none'
end
if redis.call('HLEN', key) > 10000 then return { 'BAD', key, 'has more than 10000 products' } end

local back, units, without_stock = {}, 0, 0
for _, product in ipairs(redis.call('HKEYS', key)) do
    if #product > 1000 then return { 'BAD', key, 'has a product with a code of more than 1000 bytes' } end
    -- Nine digits: the most units of a line.
    local reserved = redis.call('HSTRLEN', key, product) <= 9 and redis.call('HGET', key, product) or ''
    if not is_number(reserved) or string.sub(reserved, 1, 1) == '-' then
        return { 'BAD', key, 'holds what is not a number of units' }
    end
    local stock, stored = stock_of(product)
    if stored == 'none' then
        -- Made from this alone, it would say that nothing else is in stock.
        without_stock = without_stock + 1
    elseif stored ~= 'string' then
        return { 'BAD', stock, 'is a ' .. stored .. ', not a number' }
    -- Of so few digits the sum cannot overflow.
    elseif redis.call('STRLEN', stock) > 15 or not is_number(redis.call('GET', stock)) then
        return { 'BAD', stock, 'is not a number of up to 15 digits' }
    elseif reserved ~= '0' then
        back[#back + 1] = { stock, reserved }
        units = units + tonumber(reserved)
    end
end

local added, refused = 0, nil
for _, one in ipairs(back) do
    local answer = redis.pcall('INCRBY', one[1], one[2])
    if type(answer) == 'table' then refused = answer break end
    added = added + 1
end
if not refused then
    local answer = redis.pcall('DEL', key)
    if type(answer) == 'table' then refused = answer end
end
if refused then
    for at = 1, added do redis.call('INCRBY', back[at][1], '-' .. back[at][2]) end
    return refused
end
return { 'RELEASED', units, without_stock }
