"use strict";

// Shows what Carillon sends: one notification a message, a few of them for each channel.

// Notifications of one channel beyond which the newest stands for all of them.
const SEVERAL = 3;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

// A browser ends the subscription of a page that shows nothing, so every push ends in a notification.
self.addEventListener("push", (event) => {
  const push = read(event);
  if (push) {
    event.waitUntil(Promise.all([show(push), setBadge(push.app_badge)]));
  }
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data ?? {}));
});

// The push service has given the browser another subscription.
self.addEventListener("pushsubscriptionchange", (event) => {
  event.waitUntil(renew(event));
});

// Nothing, where a browser shows the declarative notification by itself and hands over no data.
function read(event) {
  if (!event.data) {
    return event.notification ? null : { notification: { title: "New message" } };
  }
  try {
    const push = event.data.json();
    return push.notification?.title ? push : { notification: { title: "New message" } };
  } catch {
    return { notification: { title: event.data.text() || "New message" } };
  }
}

async function show(push) {
  const { title, navigate, ...options } = push.notification;
  options.data = { navigate, thread: push.thread, carillon: push.carillon, count: 1 };
  const older = push.thread === undefined ? [] : await ofThread(push.thread);
  // One with the same tag is replaced: it is the same message.
  const others = older.filter((one) => one.tag !== options.tag);
  if (others.length < SEVERAL) {
    await self.registration.showNotification(title, options);
    return;
  }
  options.data.count = others.reduce((sum, one) => sum + (one.data.count ?? 1), 1);
  await self.registration.showNotification(`${title} (${options.data.count})`, options);
  others.forEach((one) => one.close());
}

async function ofThread(thread) {
  const shown = await self.registration.getNotifications();
  return shown.filter((one) => one.data?.thread === thread);
}

async function setBadge(number) {
  if (number === undefined || !self.navigator.setAppBadge) {
    return;
  }
  try {
    await (number > 0 ? self.navigator.setAppBadge(number) : self.navigator.clearAppBadge());
  } catch {
    // Only an installed page has an icon.
  }
}

async function open({ navigate, thread, carillon }) {
  (await (thread === undefined ? [] : ofThread(thread))).forEach((one) => one.close());
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = pages.find((one) => one.url === navigate) ?? pages[0];
  if (page) {
    await page.focus();
    page.postMessage({ type: "open", navigate, thread, carillon });
  } else {
    await self.clients.openWindow(navigate ?? self.registration.scope);
  }
}

async function renew(event) {
  const options = event.oldSubscription?.options ?? event.newSubscription?.options;
  const subscription = event.newSubscription ?? (options && (await self.registration.pushManager.subscribe(options)));
  if (subscription) {
    await fetch("subscription", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(subscription),
    });
  }
}
