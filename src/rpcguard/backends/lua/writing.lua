-- What the scripts that write records share.
--
-- KEYS[3]  string  the answer to this very question, kept for a little while
-- KEYS[4]  zset    slots of the records that end -> end
-- KEYS[5]  hash    how many records a subject has, and a project in this bucket
--
-- ARGV[3]  milliseconds for which KEYS[3] is kept
-- ARGV[4]  the slot that is written

local STEP, STEP_WHEN_FULL = 64, 1024 -- ended records that one question drops
local ATTEMPT, ENDS, HELD, SLOT = KEYS[3], KEYS[4], KEYS[5], ARGV[4]
local TAKEN = 7

local function count(record, by)
  for _, account in ipairs({ record.subject, record.project }) do
    if redis.call('HINCRBY', HELD, account, by) <= 0 then
      redis.call('HDEL', HELD, account)
    end
  end
end

-- Empty a slot; return the record that was there.
local function forget(slot)
  local record = record_in(slot)
  redis.call('ZREM', ENDS, slot)
  if record then
    redis.call('HDEL', RECORDS, slot)
    redis.call('HDEL', NAMES, record.name)
    count(record, -1)
  end
  return record
end

local function prune(steps)
  local ended = redis.call('ZRANGEBYSCORE', ENDS, '-inf', NOW, 'LIMIT', 0, steps)
  for _, slot in ipairs(ended) do
    forget(slot)
  end
end

local function keep(record)
  redis.call('HSET', RECORDS, SLOT, cmsgpack.pack({
    record.name,
    record.issued,
    record.ends,
    record.value,
    record.revocable,
    record.subject,
    record.project,
  }))
  redis.call('HSET', NAMES, record.name, SLOT)
  if record.ends < math.huge then
    redis.call('ZADD', ENDS, string.format('%.17g', record.ends), SLOT)
  end
  count(record, 1)
end

-- Let the keys go by themselves after the last end, where all that is in them ends.
local function expire_records()
  local ending = redis.call('ZCARD', ENDS)
  local last
  if ending > 0 and ending == redis.call('HLEN', RECORDS) then
    last = tonumber(redis.call('ZRANGE', ENDS, -1, -1, 'WITHSCORES')[2])
  end
  for _, key in ipairs({ NAMES, RECORDS, ENDS, HELD }) do
    if last then
      expire(key, last)
    else
      redis.call('PERSIST', key)
    end
  end
end

-- The record of ARGV[first] and so on: name, when it was issued, its end or 'inf', value, subject,
-- how many it may have, project, how many that may have in this bucket, names that may be revoked.
local function asked(first)
  return {
    name = ARGV[first],
    issued = tonumber(ARGV[first + 1]),
    ends = tonumber(ARGV[first + 2]),
    value = ARGV[first + 3],
    subject = ARGV[first + 4],
    subject_limit = tonumber(ARGV[first + 5]),
    project = ARGV[first + 6],
    project_limit = tonumber(ARGV[first + 7]),
    revocable = { unpack(ARGV, first + 8) },
  }
end

local function is_taken(record)
  local slot = redis.call('HGET', NAMES, record.name)
  return slot and slot ~= SLOT
end

local function replace(record)
  forget(SLOT)
  if NOW < record.ends then
    keep(record)
  end
  expire_records()
end

-- Answer by `work`, or as the last time where the question was asked before.
local function once(work)
  local packed = AGAIN and redis.call('GET', ATTEMPT)
  if not packed then
    packed = cmsgpack.pack({ work() })
  end
  -- Written again too, so that WAIT on this connection waits for what was written on another.
  redis.call('SET', ATTEMPT, packed, 'PX', ARGV[3])
  return cmsgpack.unpack(packed)
end
