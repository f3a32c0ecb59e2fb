"""Every key, and how this browser shows pages."""

from worker.dashboard.page import Page

PAGE = Page("keys", "/keys", "Keys and appearance")
