-- Answer everything that one request owes: revocations, then the record, and the nonce is spent last.
--
-- KEYS[5]  zset    nonces of the project: subject and name -> deadline    (these three only where
-- KEYS[6]  hash    live nonces by subject                                   there is a nonce)
-- KEYS[7]  string  there while this very question was answered with OK not long ago
--
-- ARGV[5]  when the proof was made
-- ARGV[6]  name of the record that must be there, or ''
-- ARGV[7]  its slot, or ''
-- ARGV[8]  milliseconds for which KEYS[7] is kept
-- ARGV[9]  deadline of the nonce, whole seconds; '0' where the proof has ended
-- ARGV[10] name of the nonce
-- ARGV[11] subject, and how many live nonces it may hold
-- ARGV[12]
-- ARGV[13] project, and how many it may hold in this bucket
-- ARGV[14]
-- ARGV[15] and so on: names that may be revoked

local STEP, STEP_WHEN_FULL = 64, 1024 -- ended nonces that one question drops
local NONCES, LIVE, ATTEMPT = KEYS[5], KEYS[6], KEYS[7]
local SUBJECT, PROJECT = ARGV[11], ARGV[13]
local PRUNED, THROUGH = 'pruned:' .. PROJECT, 'through:' .. PROJECT
local SUBJECT_BYTES = 8

local function give_back(subject)
  if redis.call('HINCRBY', LIVE, subject, -1) <= 0 then
    redis.call('HDEL', LIVE, subject)
  end
end

-- Drop at most `steps` that have ended, the earliest first; return through when that goes.
local function prune(pruned, steps)
  local ended =
    redis.call('ZRANGEBYSCORE', NONCES, '-inf', ARGV[3], 'WITHSCORES', 'LIMIT', 0, steps)
  if #ended == 0 then
    return pruned
  end
  local members = {}
  for i = 1, #ended, 2 do
    members[#members + 1] = ended[i]
  end
  redis.call('ZREM', NONCES, unpack(members)) -- first: a server that is full permits that alone
  for _, member in ipairs(members) do
    give_back(member:sub(1, SUBJECT_BYTES))
  end
  local last = ended[#ended]
  if tonumber(last) > pruned then
    redis.call('HSET', STATE, PRUNED, last)
    return tonumber(last)
  end
  return pruned
end

local function full()
  if tonumber(redis.call('HGET', LIVE, SUBJECT) or 0) >= tonumber(ARGV[12]) then
    return SUBJECT_FULL
  end
  if redis.call('ZCARD', NONCES) >= tonumber(ARGV[14]) then
    return PROJECT_FULL
  end
  return nil
end

local function spend()
  local _, _, known, pruned, through = state('known_after', PRUNED, THROUGH)
  known = known_after(known)
  pruned, through = tonumber(pruned or '-inf'), tonumber(through or '-inf')
  if through > pruned and redis.call('EXISTS', NONCES) == 0 then
    pruned = through -- the key has gone by itself, and all that was in it
    redis.call('HSET', STATE, PRUNED, string.format('%.0f', through))
  end
  pruned = prune(pruned, STEP)
  local deadline = tonumber(ARGV[9])
  if deadline <= pruned or tonumber(ARGV[5]) <= known or deadline == 0 then
    return FORGOTTEN
  end
  local member = SUBJECT .. ARGV[10]
  local held = tonumber(redis.call('ZSCORE', NONCES, member) or '-inf')
  if NOW < held then
    if AGAIN and redis.call('EXISTS', ATTEMPT) == 1 then
      -- Written again, so that WAIT on this connection waits for what was written on another.
      redis.call('SET', ATTEMPT, '', 'PX', ARGV[8])
      return OK
    end
    return REPLAYED
  end
  if held > 0 then -- it has ended and was not yet dropped
    redis.call('ZREM', NONCES, member)
    give_back(SUBJECT)
    if held > pruned then
      redis.call('HSET', STATE, PRUNED, string.format('%.0f', held))
    end
  end
  local refusal = full()
  if refusal then
    prune(pruned, STEP_WHEN_FULL)
    refusal = full()
    if refusal then
      return refusal
    end
  end
  redis.call('ZADD', NONCES, ARGV[9], member)
  redis.call('HINCRBY', LIVE, SUBJECT, 1)
  redis.call('SET', ATTEMPT, '', 'PX', ARGV[8])
  if deadline > through then
    redis.call('HSET', STATE, THROUGH, ARGV[9])
    expire(NONCES, deadline)
    expire(LIVE, deadline)
  end
  return OK
end

if is_revoked({ unpack(ARGV, 15) }, tonumber(ARGV[5])) then
  return REVOKED
end
local value
if ARGV[6] ~= '' then
  local verdict
  verdict, value = standing(ARGV[6], ARGV[7])
  if verdict ~= OK then
    return { verdict, value }
  end
end
if ARGV[9] == '' then
  refuse_on_a_replica()
  return { OK, value }
end
local verdict = spend()
if verdict == OK and value then
  return { OK, value }
end
return verdict
