-- Lists among the arguments: a count, then that many records of `width` values.
local function list_at(at, width) return {first = at + 1, last = at + ARGV[at] * width, width = width} end
local function next_record(list, i)
  i = i + list.width
  if i <= list.last then return i, unpack(ARGV, i, i + list.width - 1) end
end
-- For each record the index of its first value in ARGV, and its values.
local function each(list) return next_record, list, list.first - list.width end
