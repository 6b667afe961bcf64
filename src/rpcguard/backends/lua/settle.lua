-- Answer everything that one request owes: revocations, then the record, and the nonce is spent last.
--
-- KEYS[5]  zset    nonces of the project: subject and name -> deadline    (these three only where
-- KEYS[6]  hash    live nonces by subject                                   there is a nonce)
-- KEYS[7]  string  there while this very question was answered with OK not long ago
--
-- ARGV[5]  when the proof was made
-- ARGV[6]  '=' and the name of the record that must be there, or ''
-- ARGV[7]  '=' and its slot, or ''
-- ARGV[8]  milliseconds for which KEYS[7] is kept
-- ARGV[9]  deadline of the nonce, whole seconds; '0' where the proof has ended; '' without a nonce
-- ARGV[10] name of the nonce
-- ARGV[11] subject, and how many live nonces it may hold
-- ARGV[12]
-- ARGV[13] project, and how many it may hold in this bucket
-- ARGV[14]
-- ARGV[15] and so on: names that may be revoked
--
-- This runs for each request and everything else waits meanwhile: it makes few calls, and looks
-- at what is seldom so after it has written, to undo that.

local NONCES, LIVE, ATTEMPT = KEYS[5], KEYS[6], KEYS[7]

if ARGV[9] == '' then
  refuse_on_a_replica()
end
if ARGV[15] and is_revoked({ unpack(ARGV, 15) }, tonumber(ARGV[5])) then
  return REVOKED
end
local verdict, value = OK, nil
if ARGV[6] ~= '' then
  verdict, value = standing(ARGV[6]:sub(2), ARGV[7] ~= '' and ARGV[7]:sub(2))
  if verdict ~= OK then
    return { verdict, value }
  end
end
if ARGV[9] == '' then
  return { OK, value }
end

local SUBJECT, SUBJECT_LIMIT, PROJECT_LIMIT = ARGV[11], tonumber(ARGV[12]), tonumber(ARGV[14])
local PRUNED, THROUGH = 'pruned:' .. ARGV[13], 'through:' .. ARGV[13]
local MEMBER, DEADLINE = SUBJECT .. ARGV[10], tonumber(ARGV[9])
local PRUNE_EVERY, STEP, STEP_WHEN_FULL = 8, 64, 1024 -- nonces; the last two at once

local _, _, known, pruned, through = state('known_after', PRUNED, THROUGH)
if DEADLINE <= tonumber(pruned or 0) or tonumber(ARGV[5]) <= known_after(known) then
  return FORGOTTEN
end

local function forget_through(deadline)
  if deadline > tonumber(pruned or 0) then
    pruned = string.format('%.0f', deadline)
    redis.call('HSET', STATE, PRUNED, pruned)
  end
end

local function give_back(member)
  local subject = member:sub(1, #SUBJECT)
  if redis.call('HINCRBY', LIVE, subject, -1) <= 0 then
    redis.call('HDEL', LIVE, subject)
  end
end

-- Drop at most `steps` that have ended, the earliest first.
local function prune(steps)
  local ended = redis.call('ZRANGEBYSCORE', NONCES, '-inf', ARGV[3], 'LIMIT', 0, steps)
  if #ended > 0 then
    local last = redis.call('ZSCORE', NONCES, ended[#ended])
    redis.call('ZREM', NONCES, unpack(ended)) -- first: where memory is full, that alone is permitted
    for _, member in ipairs(ended) do
      give_back(member)
    end
    forget_through(tonumber(last))
  end
end

local added = redis.pcall('ZADD', NONCES, 'NX', ARGV[9], MEMBER)
if type(added) == 'table' then -- memory is full: make room, or let the error out
  prune(STEP_WHEN_FULL)
  added = redis.call('ZADD', NONCES, 'NX', ARGV[9], MEMBER)
end
local held, mine
if added == 0 then
  held = tonumber(redis.call('ZSCORE', NONCES, MEMBER))
  if NOW < held then
    if AGAIN and redis.call('EXISTS', ATTEMPT) == 1 then
      -- Written again, so that WAIT on this connection waits for what was written on another.
      redis.call('SET', ATTEMPT, '', 'PX', ARGV[8])
      return value and { OK, value } or OK
    end
    return REPLAYED
  end
  redis.call('ZADD', NONCES, ARGV[9], MEMBER) -- it has ended and was not yet dropped
  mine = tonumber(redis.call('HGET', LIVE, SUBJECT))
else
  mine = redis.call('HINCRBY', LIVE, SUBJECT, 1)
end

local function undo(refusal)
  redis.call('ZREM', NONCES, MEMBER)
  give_back(MEMBER)
  if held then
    forget_through(held)
  end
  return refusal
end

local size = redis.call('ZCARD', NONCES)
if mine > SUBJECT_LIMIT or size > PROJECT_LIMIT then
  prune(STEP_WHEN_FULL)
  size = redis.call('ZCARD', NONCES)
  if tonumber(redis.call('HGET', LIVE, SUBJECT)) > SUBJECT_LIMIT then
    return undo(SUBJECT_FULL)
  elseif size > PROJECT_LIMIT then
    return undo(PROJECT_FULL)
  end
end
if size == 1 and tonumber(through or 0) > tonumber(pruned or 0) then
  -- Either that one has ended, or the key has gone by itself and all that was in it.
  forget_through(tonumber(through))
  if DEADLINE <= tonumber(pruned) then
    return undo(FORGOTTEN)
  end
elseif size % PRUNE_EVERY == 0 then
  prune(STEP)
end
redis.call('SET', ATTEMPT, '', 'PX', ARGV[8])
if DEADLINE > tonumber(through or 0) then
  redis.call('HSET', STATE, THROUGH, ARGV[9])
  expire(NONCES, DEADLINE)
  expire(LIVE, DEADLINE)
end
return value and { OK, value } or OK
