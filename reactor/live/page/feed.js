// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// watch listens to the server and has each thing it tells go to one of on's functions: hello, message, missed, and lost
// when nothing comes any more. The browser asks again by itself, and a server that was replaced says hello anew; one
// that refuses is asked again here.
export function watch(on) {
  let source;
  const connect = () => {
    source = new EventSource("events");
    source.addEventListener("hello", (e) => on.hello(JSON.parse(e.data)));
    source.addEventListener("message", (e) => on.message(JSON.parse(e.data)));
    source.addEventListener("missed", (e) => on.missed(Number(e.data)));
    source.addEventListener("error", () => {
      on.lost();
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
    });
  };
  connect();
}
