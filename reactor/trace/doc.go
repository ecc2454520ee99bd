// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

// Package trace makes something to look at of a reactor's events: Chrome writes the JSON that Perfetto
// (https://ui.perfetto.dev) and chrome://tracing open, Story a line for each event, Busiest the connections that moved
// most. The events are those of reactor.Trace:
//
//	t, err := r.Trace(reactor.TraceOptions{})
//	...
//	t.Stop()
//	events, lost := t.Events()
//	err = trace.Chrome(file, events)
//
// Reading order: story.go, chrome.go, busiest.go.
package trace
