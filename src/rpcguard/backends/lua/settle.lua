-- Answer everything that one request owes: revocations, then the record, and the nonce is spent last.
--
-- Everything else waits meanwhile: this makes few calls, and looks at what is seldom so after it has
-- written, to undo that.

if SPENDS == 0 then
  refuse_on_a_replica()
end
if is_revoked(MADE, ARGV, FIRST, LAST) then
  return REVOKED
end
local verdict, value = OK, nil
if SHOWN > 0 then
  verdict, value = standing(ARGV[LAST + 1], SHOWN == 2 and ARGV[#ARGV])
  if verdict ~= OK then
    return { verdict, value }
  end
end
if SPENDS == 0 then
  return value and { OK, value } or OK
end

local SUBJECT = MEMBER:sub(1, 8)
local STEP, STEP_WHEN_FULL = 64, 1024 -- entries that are dropped at once
local HOUR = 3600 -- seconds by which keys last longer than they must, so that it is seldom put off

local _, known, packed = state('known_after', PROJECT)
local pruned, through, lasting = 0, 0, 0
if packed then
  pruned, through, lasting = struct.unpack('<ddd', packed)
end
if DEADLINE <= pruned or MADE <= known_after(known) then
  return FORGOTTEN
end
if AGAIN and redis.call('ZSCORE', NONCES, RANDOM) then
  -- This very question was answered with OK. That is written again, so that WAIT on this connection
  -- waits for what was written on another.
  redis.call('ZINCRBY', NONCES, 1, RANDOM)
  return value and { OK, value } or OK
end

local function note()
  redis.call('HSET', STATE, PROJECT, struct.pack('<ddd', pruned, through, lasting))
end

local function forget_through(deadline)
  if deadline > pruned then
    pruned = deadline
    note()
  end
end

local function give_back(member)
  local subject = member:sub(1, #SUBJECT)
  if redis.call('HINCRBY', LIVE, subject, -1) <= 0 then
    redis.call('HDEL', LIVE, subject)
  end
end

-- Drop at most `steps` marks that have ended, and as many nonces, the earliest first.
local function prune(steps)
  local over = redis.call('ZCOUNT', NONCES, '-inf', NOW - MARKS)
  if over > 0 then
    redis.call('ZREMRANGEBYRANK', NONCES, 0, math.min(over, steps) - 1) -- they come first
  end
  local ended = redis.call('ZRANGEBYSCORE', NONCES, 0, NOW, 'LIMIT', 0, steps)
  if #ended > 0 then
    local last = redis.call('ZSCORE', NONCES, ended[#ended])
    redis.call('ZREM', NONCES, unpack(ended)) -- first: where memory is full, that alone is permitted
    for _, member in ipairs(ended) do
      give_back(member)
    end
    forget_through(tonumber(last))
  end
end

local UNTIL = ASKED_UNTIL - MARKS
local added = redis.pcall('ZADD', NONCES, 'NX', DEADLINE, MEMBER, UNTIL, RANDOM)
if type(added) == 'table' then -- memory is full: make room, or let the error out
  prune(STEP_WHEN_FULL)
  added = redis.call('ZADD', NONCES, 'NX', DEADLINE, MEMBER, UNTIL, RANDOM)
end
local held, mine
if added < 2 then
  held = tonumber(redis.call('ZSCORE', NONCES, MEMBER))
  if NOW < held then
    redis.call('ZREM', NONCES, RANDOM)
    return REPLAYED
  end
  redis.call('ZADD', NONCES, DEADLINE, MEMBER) -- it has ended and was not yet dropped
  mine = tonumber(redis.call('HGET', LIVE, SUBJECT))
else
  mine = redis.call('HINCRBY', LIVE, SUBJECT, 1)
end

local function undo(refusal)
  redis.call('ZREM', NONCES, MEMBER, RANDOM)
  give_back(MEMBER)
  if held then
    forget_through(held)
  end
  return refusal
end

local function project_is_full()
  local entries = redis.call('ZCARD', NONCES)
  return entries > PROJECT_LIMIT
    and entries - redis.call('ZCOUNT', NONCES, '-inf', '(0') > PROJECT_LIMIT
end

local size = redis.call('ZCARD', NONCES) -- with the marks
if mine > SUBJECT_LIMIT or size > PROJECT_LIMIT and project_is_full() then
  prune(STEP_WHEN_FULL)
  if tonumber(redis.call('HGET', LIVE, SUBJECT)) > SUBJECT_LIMIT then
    return undo(SUBJECT_FULL)
  elseif project_is_full() then
    return undo(PROJECT_FULL)
  end
end
if size == 2 and through > pruned then
  -- Either that one has ended, or the key has gone by itself and all that was in it.
  forget_through(through)
  if DEADLINE <= pruned then
    return undo(FORGOTTEN)
  end
elseif size % PRUNE_EVERY < 2 then
  prune(STEP)
end
if DEADLINE > through then
  -- What was spent before may all have been dropped, and the keys with it: then these are new.
  local new = through <= pruned
  through = DEADLINE
  if new or DEADLINE > lasting then
    lasting = DEADLINE + HOUR
    expire(NONCES, lasting)
    expire(LIVE, lasting)
  end
  note()
end
return value and { OK, value } or OK
