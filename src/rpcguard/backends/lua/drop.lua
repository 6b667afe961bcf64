-- End the record in the slot; UNKNOWN where there is none.

return once(function()
  prune(STEP)
  local record = forget(SLOT)
  expire_records()
  return record and NOW < record.ends and OK or UNKNOWN
end)
