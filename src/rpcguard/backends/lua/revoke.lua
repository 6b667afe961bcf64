-- Record revocations. A later one never weakens an earlier one.
--
-- KEYS[3]  zset    revocations that end: name -> end
--
-- ARGV[3]  and so on, by threes: name, before, end; texts of times, 'inf' for ever

local STEP = 64
local ENDS = KEYS[3]

local over =
  redis.call('ZRANGEBYSCORE', ENDS, '-inf', NOW, 'LIMIT', 0, STEP + (#ARGV - 2) / 3)
if #over > 0 then
  redis.call('HDEL', REVOCATIONS, unpack(over))
  redis.call('ZREM', ENDS, unpack(over))
end
for i = 3, #ARGV, 3 do
  local name, before, ends = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local found = redis.call('HGET', REVOCATIONS, name)
  if found then
    local earlier_before, earlier_ends = struct.unpack('<dd', found)
    if NOW < earlier_ends then
      before, ends = math.max(before, earlier_before), math.max(ends, earlier_ends)
    end
  end
  redis.call('HSET', REVOCATIONS, name, struct.pack('<dd', before, ends))
  if ends < math.huge then
    redis.call('ZADD', ENDS, string.format('%.17g', ends), name)
  else
    redis.call('ZREM', ENDS, name)
  end
end
local ending = redis.call('ZCARD', ENDS)
if ending > 0 and ending == redis.call('HLEN', REVOCATIONS) then
  local last = tonumber(redis.call('ZRANGE', ENDS, -1, -1, 'WITHSCORES')[2])
  expire(REVOCATIONS, last)
  expire(ENDS, last)
else
  redis.call('PERSIST', REVOCATIONS)
  redis.call('PERSIST', ENDS)
end
return OK
