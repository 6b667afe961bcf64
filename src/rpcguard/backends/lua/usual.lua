-- Answer the usual question: asked for the first time, without a record, and nothing is revoked or
-- full. Most requests end here, in half the time that `settle.lua` takes with all that it must know.
--
-- This says OK or nothing. Each condition is one of `settle.lua`; where one does not hold, all is
-- left as it was, and that script decides.

local usual = SHOWN == 0 and not AGAIN
if usual and FIRST <= LAST then
  local found = redis.call('HMGET', REVOCATIONS, unpack(ARGV, FIRST, LAST))
  for i = 1, LAST - FIRST + 1 do
    usual = usual and not found[i]
  end
end
if usual and SPENDS == 0 then
  redis.call('HDEL', STATE, '') -- which a replica refuses
  return OK
end
if usual then
  local found = redis.call('HMGET', STATE, 'server', 'known_after', PROJECT)
  local server, known, packed = found[1], found[2], found[3]
  if server and (SERVER == '' or SERVER == server) and known and packed then
    local pruned, through, lasting = struct.unpack('<ddd', packed)
    local size = redis.call('ZCARD', NONCES) + 2
    if
      MADE > struct.unpack('<d', known)
      and DEADLINE > pruned
      and DEADLINE <= lasting
      and through > pruned -- there are nonces, and the keys last
      and size > 2
      and size <= PROJECT_LIMIT
      and size % PRUNE_EVERY >= 2
    then
      local until_ = ASKED_UNTIL - MARKS
      local added = redis.pcall('ZADD', NONCES, 'NX', DEADLINE, MEMBER, until_, RANDOM)
      if added == 2 then
        local subject = MEMBER:sub(1, 8)
        local mine = redis.call('HINCRBY', LIVE, subject, 1)
        if mine <= SUBJECT_LIMIT then
          if DEADLINE > through then
            redis.call('HSET', STATE, PROJECT, struct.pack('<ddd', pruned, DEADLINE, lasting))
          end
          return OK
        end
        redis.call('ZREM', NONCES, MEMBER, RANDOM)
        if redis.call('HINCRBY', LIVE, subject, -1) <= 0 then
          redis.call('HDEL', LIVE, subject)
        end
      elseif added == 1 then -- there is such a nonce
        redis.call('ZREM', NONCES, RANDOM)
      end
    end
  end
end
