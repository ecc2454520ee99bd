// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

// Package inspect serves a reactor's Stats as JSON, in the way of package expvar:
//
//	http.Handle("/debug/quartet", inspect.Handler(r))
//
// Asked with ?sample=1s it watches the reactor for so long and tells as well what it was before, and which connections
// moved most bytes meanwhile. For that it traces reads and writes while it watches; nobody pays for it else.
//
// It tells the addresses of clients: do not serve it to everybody.
package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/trace"
)

// The bounds of a sample, and how many connections it names when not told.
const (
	MaxSample = 30 * time.Second
	MaxFlows  = 1000

	DefaultFlows = 10
)

// drainEvery is how often the events of a sample are summed up, so that few are overwritten before.
const drainEvery = 20 * time.Millisecond

// A Page is what is served.
type Page struct {
	reactor.Stats
	Sample *Sample `json:"sample,omitempty"` // nil unless asked for
}

// A Sample is what happened between two Stats.
type Sample struct {
	Before reactor.Stats `json:"before"`
	Flows  []trace.Flow  `json:"flows"` // the busiest connections, busiest first
	Lost   uint64        `json:"lost"`  // reads and writes that are not in Flows, for they came faster than they could be counted
}

// Duration is how long the sample lasted.
func (p *Page) Duration() time.Duration {
	if p.Sample == nil {
		return 0
	}
	return p.Time.Sub(p.Sample.Before.Time)
}

// Handler serves a Page of r. Query parameters are sample, a duration of up to 30 s, and flows, how many connections a
// sample names, up to 1000 (10). A wrong one is answered with 400 and a line that says what is right, a sample while
// too many traces record with 503.
func Handler(r *reactor.Reactor) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		length, flows, err := parse(q)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		p := &Page{}
		if length > 0 {
			if p.Sample, err = sample(q.Context(), r, length, flows); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		p.Stats = r.Stats()
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(p) // the client has gone
	})
}

func parse(q *http.Request) (length time.Duration, flows int, err error) {
	flows = DefaultFlows
	if text := q.FormValue("sample"); text != "" {
		if length, err = time.ParseDuration(text); err != nil || length <= 0 || length > MaxSample {
			return 0, 0, fmt.Errorf("sample is %q, want a duration above 0 and up to %v", text, MaxSample)
		}
	}
	if text := q.FormValue("flows"); text != "" {
		if flows, err = strconv.Atoi(text); err != nil || flows < 0 || flows > MaxFlows {
			return 0, 0, fmt.Errorf("flows is %q, want a whole number from 0 to %d", text, MaxFlows)
		}
	}
	return length, flows, nil
}

func sample(ctx context.Context, r *reactor.Reactor, length time.Duration, n int) (*Sample, error) {
	s := &Sample{Before: r.Stats()}
	t, err := r.Trace(reactor.TraceOptions{Filter: trace.Bytes})
	if err != nil {
		return nil, err
	}
	defer t.Stop()
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	var flows trace.Flows
	rd := t.Reader()
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-tick.C:
		}
		events, lost := rd.Next()
		flows.Add(events)
		s.Lost += lost
	}
	s.Flows = flows.Busiest(n)
	return s, nil
}
