-- Answer everything that one request owes: revocations, then the record, and the nonce is spent last.
--
-- KEYS[3]  zset    nonces of the project: subject and name -> deadline; and for a little while the
--                  random bytes of each question that was answered with OK -> its end less MARKS
-- KEYS[4]  hash    live nonces by subject
--                  (both only where there is a nonce)
--
-- ARGV[3]  packed: now; when the proof was made; deadline of the nonce, whole seconds, or 0 where the
--          proof has ended; until when the question may be asked again; whether there is a nonce;
--          how many of the last arguments are about a record
-- ARGV[5]  subject (8 bytes) and name of the nonce      (these three only where there is a nonce)
-- ARGV[6]  packed: live nonces that the subject may hold, and the project in this bucket
-- ARGV[7]  project
-- and so on: names that may be revoked
-- and at the end: name of the record that must be there, and its slot where that is given
--
-- The field ARGV[7] of the state holds, packed: through which deadline nonces are forgotten, through
-- which there were any, and for which the keys last.
--
-- This runs for each request and everything else waits meanwhile: it makes few calls, and looks
-- at what is seldom so after it has written, to undo that.

local _, MADE, DEADLINE, ASKED_UNTIL, SPENDS, SHOWN = struct.unpack('<ddddBB', ARGV[3])

if SPENDS == 0 then
  refuse_on_a_replica()
end
if is_revoked(MADE, ARGV, SPENDS == 0 and 5 or 8, #ARGV - SHOWN) then
  return REVOKED
end
local verdict, value = OK, nil
if SHOWN > 0 then
  verdict, value = standing(ARGV[#ARGV - SHOWN + 1], SHOWN == 2 and ARGV[#ARGV])
  if verdict ~= OK then
    return { verdict, value }
  end
end
if SPENDS == 0 then
  return { OK, value }
end

local NONCES, LIVE = KEYS[3], KEYS[4]
local MEMBER, PROJECT = ARGV[5], ARGV[7]
local SUBJECT = MEMBER:sub(1, 8)
local SUBJECT_LIMIT, PROJECT_LIMIT = struct.unpack('<dd', ARGV[6])
local PRUNE_EVERY, STEP, STEP_WHEN_FULL = 16, 64, 1024 -- entries; the last two at once
local MARKS = 1e13 -- so marks are below 0, and nonces above
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
  local over = redis.call('ZRANGEBYSCORE', NONCES, '-inf', NOW - MARKS, 'LIMIT', 0, steps)
  if #over > 0 then
    redis.call('ZREM', NONCES, unpack(over))
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
elseif size % PRUNE_EVERY < 2 then -- each question adds two
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
