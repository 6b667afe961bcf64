-- The records of a bucket, for the scripts that ask for one or write one.
--
-- The last two keys where a record is asked for or written:
-- KEYS[-2]  hash    names: name -> slot
-- KEYS[-1]  hash    records: slot -> packed record

local NAMES, RECORDS = KEYS[#KEYS - 1], KEYS[#KEYS]

local function record_in(slot)
  local packed = redis.call('HGET', RECORDS, slot)
  if not packed then
    return nil
  end
  local name, issued, ends, value, revocable, subject, project = unpack(cmsgpack.unpack(packed))
  return {
    name = name,
    issued = issued,
    ends = ends,
    value = value,
    revocable = revocable,
    subject = subject,
    project = project,
  }
end

-- Answer for the record `name`: the one in `slot`, or without a slot the one where the name leads.
local function standing(name, slot)
  slot = slot or redis.call('HGET', NAMES, name)
  local record = slot and record_in(slot)
  if not record or record.ends <= NOW then
    return UNKNOWN
  end
  if is_revoked(record.issued, record.revocable) then
    return REVOKED
  end
  return record.name == name and OK or REPLAYED, record.value
end
