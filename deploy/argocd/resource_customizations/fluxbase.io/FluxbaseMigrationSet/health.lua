-- Health of a FluxbaseMigrationSet, from the conditions that the operator writes by the rules of kstatus.
local health = {
  status = "Progressing",
  message = "Waiting for the operator to look at the set",
}

-- The CRD gives a new object an observedGeneration that is never current.
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions or {}) do
  conditions[condition.type] = condition
end

local ready = conditions.Ready
if ready == nil then
  return health
end
health.message = ready.message

if ready.status == "True" then
  health.status = "Healthy"
elseif conditions.Stalled ~= nil and conditions.Stalled.status == "True" then
  -- A dirty database is worth an alarm, also while somebody is waited for.
  if ready.reason ~= "Suspended" and ready.reason ~= "AwaitingApproval" then
    health.status = "Degraded"
  elseif obj.status.dirty then
    health.status = "Degraded"
    health.message = ready.message .. " (the database is marked dirty)"
  else
    health.status = "Suspended"
  end
end
return health
