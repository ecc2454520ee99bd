// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package trace

import (
	"cmp"
	"maps"
	"slices"

	"github.com/quartet-go/quartet/reactor"
)

// A Flow is what one connection moved.
type Flow struct {
	Conn     uint64            `json:"id"`
	Tuple    reactor.FourTuple `json:"tuple"`
	Loop     int               `json:"loop"`
	Received int64             `json:"received"` // bytes
	Sent     int64             `json:"sent"`     // bytes
	Reads    int64             `json:"reads"`    // system calls that brought something
	Writes   int64             `json:"writes"`   // system calls that took something
}

// Flows sums up what each connection moved. The zero value is empty.
type Flows struct{ byConn map[uint64]*Flow }

// Bytes is a filter for reactor.TraceOptions that keeps what Flows counts, and nothing else.
func Bytes(e *reactor.TraceEvent) bool {
	return e.Kind == reactor.TraceRead || e.Kind == reactor.TraceWrite
}

// Add counts events.
func (f *Flows) Add(events []reactor.TraceEvent) {
	if f.byConn == nil {
		f.byConn = map[uint64]*Flow{}
	}
	for i := range events {
		e := &events[i]
		if !Bytes(e) {
			continue
		}
		flow := f.byConn[e.Conn]
		if flow == nil {
			flow = &Flow{Conn: e.Conn, Tuple: e.Tuple, Loop: e.Loop}
			f.byConn[e.Conn] = flow
		}
		if e.Kind == reactor.TraceRead {
			flow.Received += int64(e.N)
			flow.Reads++
		} else {
			flow.Sent += int64(e.N)
			flow.Writes++
		}
	}
}

// Busiest returns the n connections that moved most bytes, most first.
func (f *Flows) Busiest(n int) []Flow {
	flows := slices.SortedFunc(maps.Values(f.byConn), func(a, b *Flow) int {
		return cmp.Or(cmp.Compare(b.Received+b.Sent, a.Received+a.Sent), cmp.Compare(a.Conn, b.Conn))
	})
	busiest := make([]Flow, min(n, len(flows)))
	for i := range busiest {
		busiest[i] = *flows[i]
	}
	return busiest
}
