-- Return the epoch of the bucket, and which of some nonces are spent.
--
-- KEYS[3]  zset    nonces of the project
--
-- ARGV[3]  and so on: nonces with their subject, as in the zset

local _, epoch = state('epoch')
refuse_on_a_replica()
local spent = {}
for i = 3, #ARGV do
  local held = redis.call('ZSCORE', KEYS[3], ARGV[i])
  spent[#spent + 1] = held and NOW < tonumber(held) and 1 or 0
end
return { epoch, spent }
