"use strict";

// Subscribes this browser, and keeps its subscription known to the chat server.
//
// The server answers `GET config.json` with {"public_key": …}, the key that `carillon push web` prints. It takes
// `POST subscription` with the subscription, and calls `register_device` for the user who is signed in; and
// `DELETE subscription` with {"endpoint": …}, and calls `unregister_device`. `POST message` publishes a message to that user.

const state = document.getElementById("state");
const subscribeButton = document.getElementById("subscribe");
const unsubscribeButton = document.getElementById("unsubscribe");
const testButton = document.getElementById("test");

async function start() {
  if (!("serviceWorker" in navigator) || !("PushManager" in window)) {
    // Safari on iOS has it only for a page that was added to the home screen.
    say("This browser has no notifications for pages.");
    return;
  }
  const registration = await navigator.serviceWorker.register("sw.js");
  subscribeButton.addEventListener("click", () => run(() => subscribe(registration)));
  unsubscribeButton.addEventListener("click", () => run(() => unsubscribe(registration)));
  testButton.addEventListener("click", () => run(test));
  navigator.serviceWorker.addEventListener("message", opened);
  await run(() => refresh(registration));
}

// At each start: a subscription may have ended, or be bound to a key that is not used any more.
async function refresh(registration) {
  const subscription = await registration.pushManager.getSubscription();
  if (Notification.permission === "granted" && subscription) {
    await subscribe(registration);
  } else {
    show(false);
  }
}

// Browsers ask for permission only after a click.
async function subscribe(registration) {
  if ((await Notification.requestPermission()) !== "granted") {
    show(false);
    say("Notifications are not allowed for this page.");
    return;
  }
  const key = decoded((await (await request("config.json")).json()).public_key);
  let subscription = await registration.pushManager.getSubscription();
  if (subscription && !equal(subscription.options.applicationServerKey, key)) {
    await subscription.unsubscribe();
    subscription = null;
  }
  subscription ??= await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  await request("subscription", "POST", subscription);
  show(true);
}

async function unsubscribe(registration) {
  const subscription = await registration.pushManager.getSubscription();
  if (subscription) {
    await request("subscription", "DELETE", { endpoint: subscription.endpoint });
    await subscription.unsubscribe();
  }
  show(false);
}

async function test() {
  await request("message", "POST", {});
  say("A message is on its way.");
}

async function request(path, method = "GET", body = undefined) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (!answer.ok) {
    throw new Error(`${method} ${path}: ${answer.status}`);
  }
  return answer;
}

// The service worker says which notification was clicked: a page that is open shows its channel.
function opened(event) {
  if (event.data?.type !== "open") {
    return;
  }
  const line = document.createElement("li");
  line.textContent = event.data.thread ?? event.data.navigate ?? "";
  document.getElementById("opened").append(line);
  document.getElementById("clicked").hidden = false;
  navigator.clearAppBadge?.();
}

function decoded(base64url) {
  const text = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function equal(buffer, key) {
  const octets = new Uint8Array(buffer ?? []);
  return octets.length === key.length && octets.every((octet, index) => octet === key[index]);
}

function show(subscribed) {
  subscribeButton.hidden = subscribed;
  unsubscribeButton.hidden = testButton.hidden = !subscribed;
  say(subscribed ? "This browser is notified." : "This browser is not notified.");
}

function say(text) {
  state.textContent = text;
}

async function run(work) {
  try {
    await work();
  } catch (fault) {
    say(String(fault));
  }
}

run(start);
