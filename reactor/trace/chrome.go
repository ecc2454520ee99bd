// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package trace

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

// A record is one of the JSON format's events, see "Trace Event Format" by Google. Times are microseconds.
type record struct {
	Name  string         `json:"name"`
	Cat   string         `json:"cat,omitempty"`
	Phase string         `json:"ph"`
	TS    float64        `json:"ts"`
	Dur   float64        `json:"dur,omitempty"`
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	ID    uint64         `json:"id,omitempty"`
	Scope string         `json:"s,omitempty"`  // of an instant: t, its thread
	Bind  string         `json:"bp,omitempty"` // of a flow: e, to the slice around it
	Args  map[string]any `json:"args,omitempty"`
}

// The phases used.
const (
	phaseComplete  = "X" // a slice, with its duration
	phaseInstant   = "i"
	phaseFlowStart = "s"
	phaseFlowStep  = "t"
	phaseFlowEnd   = "f"
	phaseMetadata  = "M"
)

// pid is the one process there is. Threads are loops, from 1.
const pid = 1

// Chrome writes events, in the order of reactor.Trace.Events, as a JSON object in the trace event format. Each loop is
// a track; spans are slices, which nest, and all else are instants on them. Arrows lead from a connection's accept
// by its opening to its close, for the connections that have both ends in events.
func Chrome(w io.Writer, events []reactor.TraceEvent) error {
	buffered := bufio.NewWriter(w)
	c := &chrome{out: json.NewEncoder(buffered), w: buffered, flows: flows(events)}
	c.print(`{"displayTimeUnit":"ns","traceEvents":[`)
	c.metadata("process_name", 0, "name", "quartet")
	loops := map[int]bool{}
	for i := range events {
		if loop := events[i].Loop; !loops[loop] {
			loops[loop] = true
			c.metadata("thread_name", loop+1, "name", fmt.Sprintf("loop %d", loop))
			c.metadata("thread_sort_index", loop+1, "sort_index", loop)
		}
		c.event(i, &events[i])
	}
	c.print("]}\n")
	if c.err == nil {
		c.err = buffered.Flush()
	}
	return c.err
}

// chrome is a file being written.
type chrome struct {
	out     *json.Encoder
	w       io.Writer
	written bool // a record, so that the next needs a comma
	flows   map[uint64]*flow
	err     error // the first
}

// A flow is what is known of a connection's arrows before anything is written.
type flow struct{ first, last int }

// flows finds, for each connection that has one, the first and the last event that an arrow ends at.
func flows(events []reactor.TraceEvent) map[uint64]*flow {
	found := map[uint64]*flow{}
	for i := range events {
		e := &events[i]
		switch f := found[e.Conn]; {
		case e.Conn == 0 || !arrow(e.Kind):
		case f == nil:
			found[e.Conn] = &flow{i, i}
		default:
			f.last = i
		}
	}
	for conn, f := range found {
		if f.first == f.last || events[f.last].Kind != reactor.TraceClose {
			delete(found, conn)
		}
	}
	return found
}

// arrow says whether arrows lead from or to events of the kind.
func arrow(k reactor.TraceKind) bool {
	return k == reactor.TraceAccept || k == reactor.TraceOpen || k == reactor.TraceClose
}

func (c *chrome) event(i int, e *reactor.TraceEvent) {
	r := record{
		Name: name(e), Cat: "loop", Phase: phaseInstant, Scope: "t",
		TS: micros(e.At), PID: pid, TID: e.Loop + 1,
		Args: map[string]any{"seq": e.Seq, "what": e.String()},
	}
	if e.Conn != 0 {
		r.Cat = "connection"
		r.Args["connection"], r.Args["id"] = e.Tuple.String(), e.Conn
	}
	if e.Duration > 0 {
		r.Phase, r.Scope, r.Dur = phaseComplete, "", micros(e.Duration)
	}
	c.write(r)
	if f := c.flows[e.Conn]; f != nil && arrow(e.Kind) {
		end := record{Name: "connection", Cat: "life", Phase: phaseFlowStep, TS: r.TS, PID: pid, TID: r.TID, ID: e.Conn}
		switch i {
		case f.first:
			end.Phase = phaseFlowStart
		case f.last:
			end.Phase, end.Bind = phaseFlowEnd, "e"
		}
		c.write(end)
	}
}

func (c *chrome) metadata(name string, tid int, key string, value any) {
	c.write(record{Name: name, Phase: phaseMetadata, PID: pid, TID: tid, Args: map[string]any{key: value}})
}

func (c *chrome) write(r record) {
	if c.written {
		c.print(",")
	}
	c.written = true
	if c.err == nil {
		c.err = c.out.Encode(r)
	}
}

func (c *chrome) print(text string) {
	if c.err == nil {
		_, c.err = io.WriteString(c.w, text)
	}
}

// name is what a slice or an instant is called: short, and the same for all of its kind but for what decides.
func name(e *reactor.TraceEvent) string {
	switch e.Kind {
	case reactor.TraceReady:
		return strings.TrimPrefix(e.String(), "reported ")
	case reactor.TraceClose:
		return "close: " + reactor.CloseReason(e.N).String()
	}
	return e.Kind.String()
}

func micros(d time.Duration) float64 { return float64(d) / 1e3 }
