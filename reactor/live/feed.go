// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package live

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

// The bounds of watching. A loop records burst events each time, some 5,000 a second: more than anybody can look at.
const (
	MaxViewers = 8

	every     = 100 * time.Millisecond // how often viewers are told what happened
	burst     = 512                    // events of each loop in that time
	kept      = 4 * burst              // events that are kept of each loop, should the feed be late
	backlog   = 16                     // messages that a viewer may be behind, before it misses some
	statsEach = 10                     // times between statistics, which are told if nothing else is, too
)

// A feed is what all viewers of a reactor watch: one trace, which is there while somebody does.
type feed struct {
	reactor *reactor.Reactor

	mu      sync.Mutex
	viewers map[*viewer]bool
	trace   *reactor.Trace // nil while nobody watches
}

type viewer struct {
	messages chan []byte
	missed   atomic.Int64 // messages for which there was no room
}

// join adds a viewer, and returns when the trace began.
func (f *feed) join() (*viewer, time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.viewers) == MaxViewers {
		return nil, time.Time{}, fmt.Errorf("%d watch already, which is the limit", MaxViewers)
	}
	if f.trace == nil {
		t, err := f.reactor.Trace(reactor.TraceOptions{Events: kept, Burst: burst})
		if err != nil {
			return nil, time.Time{}, err
		}
		f.trace = t
		go f.run(t)
	}
	v := &viewer{messages: make(chan []byte, backlog)}
	f.viewers[v] = true
	return v, f.trace.Start(), nil
}

func (f *feed) leave(v *viewer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.viewers, v)
}

// run tells the viewers until there are none.
func (f *feed) run(t *reactor.Trace) {
	defer t.Stop()
	rd := t.Reader()
	tick := time.NewTicker(every)
	defer tick.Stop()
	looks, asked, due := make(chan look, 1), false, 0
	var named map[string]bool // those that were open at the last look
	for n := 0; ; n++ {
		if !asked && n >= due {
			asked, due = true, n+statsEach
			go func() { looks <- f.look(t) }() // beside the feed, for a loop that is stuck does not answer at once
		}
		<-tick.C
		events, lost := rd.Next()
		t.Refill()
		m := newMessage(time.Since(t.Start()), events, lost)
		select {
		case l := <-looks:
			asked, m.Stats = false, l.stats
			named = m.tellOpen(l, named)
		default:
		}
		if !f.tell(m) {
			return
		}
	}
}

// A look is what there is, beside what happens.
type look struct {
	stats *stats
	at    time.Duration // since the trace's start; what is open was looked up after it
	open  []conn        // nil if there are more than maxOpen
}

func (f *feed) look(t *reactor.Trace) look {
	s := f.reactor.Stats()
	l := look{stats: newStats(&s), at: time.Since(t.Start())}
	if s.Conns > maxOpen {
		return l
	}
	l.open = []conn{}
	for ref := range f.reactor.Conns() {
		if len(l.open) == maxOpen {
			l.open = nil
			break
		}
		l.open = append(l.open, newConn(ref.ID(), ref.Loop(), ref.Tuple()))
	}
	return l
}

// tell sends m to all viewers, unless it is empty. It returns false, and forgets the trace, if there are none.
func (f *feed) tell(m *message) bool {
	var data []byte
	if !m.empty() {
		data = encode(m)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.viewers) == 0 {
		f.trace = nil
		return false
	}
	for v := range f.viewers {
		if data == nil {
			break
		}
		select {
		case v.messages <- data:
		default:
			v.missed.Add(1)
		}
	}
	return true
}
