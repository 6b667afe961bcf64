-- Put a record in its slot. ARGV[5] and so on: the record.

local record = asked(5)

local function full()
  if tonumber(redis.call('HGET', HELD, record.subject) or 0) >= record.subject_limit then
    return SUBJECT_FULL
  end
  if tonumber(redis.call('HGET', HELD, record.project) or 0) >= record.project_limit then
    return PROJECT_FULL
  end
  return nil
end

return once(function()
  prune(STEP)
  if is_taken(record) then
    return TAKEN
  end
  local held = record_in(SLOT)
  if held and held.ends <= NOW then
    forget(SLOT)
    held = nil
  end
  if NOW < record.ends and not held and full() then
    prune(STEP_WHEN_FULL)
    local refusal = full()
    if refusal then
      return refusal
    end
  end
  replace(record)
  return OK
end)
