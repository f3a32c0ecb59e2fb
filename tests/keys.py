"""Checks in Redis that every key which a script touches is one of its partition."""

from typing import Final

#: Stands before every script; `PREFIX` is what its partition's keys begin with. `redis` hides the global one.
PREAMBLE: Final = """\
local redis = (function()
  local plain, prefix = redis, 'PREFIX'
  local all = {DEL = true, EXISTS = true, UNLINK = true, MGET = true}
  local none = {TIME = true, INFO = true}
  local function check(command, ...)
    if none[command] then return end
    local keys = command == 'XINFO' and {select(2, ...)} or {...}
    for n = 1, all[command] and #keys or 1 do
      if string.sub(keys[n], 1, #prefix) ~= prefix then error('the key ' .. keys[n] .. ' is of no partition') end
    end
  end
  for _, key in ipairs(KEYS) do check('EXISTS', key) end
  if #KEYS == 0 then error('no key says where the script runs') end
  return setmetatable({
    call = function(...)
      check(...)
      return plain.call(...)
    end,
    pcall = function(...)
      check(...)
      return plain.pcall(...)
    end,
  }, {__index = plain})
end)()
"""
