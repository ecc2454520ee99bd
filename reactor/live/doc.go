// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

// Package live serves a page that shows a reactor's loops at work: a lane for each loop, a row for each connection, and
// on them readiness, reads, partial frames, frames, writes and pauses as they happen.
//
//	http.Handle("/live/", http.StripPrefix("/live", live.Handler(r)))
//
// The page is part of the program and loads nothing from elsewhere. It shows how many bytes move and in which frames,
// never which bytes, and nothing can be done with it. But it tells the addresses of clients: do not serve it to
// everybody.
//
// While somebody watches, the reactor is traced, with a bound on the events of each loop: what a busy loop does beyond
// that is not recorded, costs nothing, and is shown as a gap. Who watches too slowly misses messages, and is told.
//
// Reading order: handler.go, feed.go, message.go; then the page: page/index.html, feed.js, model.js, lanes.js,
// detail.js, app.js.
package live
