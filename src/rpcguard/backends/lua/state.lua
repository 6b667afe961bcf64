-- What the scripts share that look at the state of a bucket, or at its revocations.

local DAY = 86400 -- seconds by which keys outlive what is in them: clocks may differ

-- Let a key go away by itself after the latest end of what is in it, by the caller's clock.
local function expire(key, ends)
  redis.call('PEXPIRE', key, string.format('%.0f', (math.max(ends - NOW, 0) + DAY) * 1000))
end

-- Return who wrote the state, and some fields of it. Where there is no state, or another server wrote
-- it (this one was restarted, or was a replica), the last that was written may be lost: the epoch is
-- new, and nobody knows after which time all that was spent is known.
local function state(...)
  local found = redis.call('HMGET', STATE, 'server', ...)
  if found[1] and (SERVER == '' or found[1] == SERVER) then
    return unpack(found)
  end
  redis.call('HDEL', STATE, 'known_after')
  redis.call('HSET', STATE, 'epoch', RANDOM, 'server', SERVER)
  return unpack(redis.call('HMGET', STATE, 'server', ...))
end

-- Return the time after which all that was spent is known; where nobody knows, that is now.
local function known_after(found)
  if found then
    return (struct.unpack('<d', found))
  end
  redis.call('HSET', STATE, 'known_after', struct.pack('<d', NOW))
  return NOW
end

-- A replica refuses a script that writes, and answers one that reads from what it has, which may be
-- old. Removing nothing changes nothing and is a write.
local function refuse_on_a_replica()
  redis.call('HDEL', STATE, '')
end

-- Return whether one of `names`, from `first` to `last` where these are given, is revoked for what was
-- made then.
local function is_revoked(made, names, first, last)
  first, last = first or 1, last or #names
  if last < first then
    return false
  end
  local found = redis.call('HMGET', REVOCATIONS, unpack(names, first, last))
  for i = 1, last - first + 1 do
    if found[i] then
      local before, ends = struct.unpack('<dd', found[i])
      if made <= before and NOW < ends then
        return true
      end
    end
  end
  return false
end
