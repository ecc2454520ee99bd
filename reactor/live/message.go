// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package live

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

// What /events tells: one hello, then a message each time something has happened, and once a second; each is a JSON
// object. Between them "missed" events tell how many messages a viewer was too slow for. Times are nanoseconds since
// the hello's Start.
type (
	hello struct {
		Start time.Time `json:"start"`
		Loops int       `json:"loops"`
		Conns []conn    `json:"conns"` // those that are open, maxHello at most
		Stats *stats    `json:"stats"`
	}

	message struct {
		Now    time.Duration `json:"now"`              // until when it tells
		Conns  []conn        `json:"conns,omitempty"`  // those that Events are about, and those new in Open
		Events []event       `json:"events,omitempty"` // by time
		Lost   uint64        `json:"lost,omitempty"`   // events that came too fast to be read
		Stats  *stats        `json:"stats,omitempty"`
		Open   *open         `json:"open,omitempty"` // with Stats, unless they are more than maxOpen
	}

	// What is open is told once a second: too many may end at once to be recorded, and of sessions nothing is.
	open struct {
		At  time.Duration `json:"at"` // what began before and is not among them has ended
		IDs []string      `json:"ids"`
	}

	conn struct {
		ID     string `json:"id"`
		Loop   int    `json:"loop"`  // that which accepted it, if no other has had to do with it
		Local  string `json:"local"` // "" for unix sockets, as Remote
		Remote string `json:"remote"`
	}

	event struct {
		Loop     int           `json:"loop"`
		Kind     string        `json:"kind"`
		At       time.Duration `json:"at"`
		Duration time.Duration `json:"duration,omitempty"`
		Conn     uint64        `json:"conn,omitempty,string"`
		N        int           `json:"n"`
		Of       int           `json:"of"`
		Text     string        `json:"text"`
	}

	stats struct {
		Loops   []loopStats `json:"loops"`
		Sockets []socket    `json:"sockets"` // those that listen, and those for datagrams
	}

	loopStats struct {
		Conns int   `json:"conns"`
		Stuck bool  `json:"stuck"` // it does not answer
		Busy  int64 `json:"busy"`  // nanoseconds in all, 0 without Options.Measure
	}

	socket struct {
		Network string `json:"network"`
		Address string `json:"address"`
		Packets bool   `json:"packets"`
		Accepts uint64 `json:"accepts"`
	}
)

const (
	maxHello = 500  // connections that a hello names
	maxOpen  = 2000 // as many as the page remembers
)

// hello tells who begins to watch what there is.
func (f *feed) hello(start time.Time) []byte {
	s := f.reactor.Stats()
	h := &hello{Start: start, Loops: len(s.Loops), Conns: []conn{}, Stats: newStats(&s)}
	for ref := range f.reactor.Conns() {
		if len(h.Conns) == maxHello {
			break // the others are named by what they do
		}
		h.Conns = append(h.Conns, newConn(ref.ID(), ref.Loop(), ref.Tuple()))
	}
	return encode(h)
}

func newMessage(now time.Duration, events []reactor.TraceEvent, lost uint64) *message {
	m := &message{Now: now, Lost: lost}
	place := map[uint64]int{} // of a connection in Conns
	for i := range events {
		e := &events[i]
		if at, named := place[e.Conn]; named {
			if e.Kind != reactor.TraceAccept { // which may be another loop's
				m.Conns[at].Loop = e.Loop
			}
		} else if e.Conn != 0 {
			place[e.Conn] = len(m.Conns)
			m.Conns = append(m.Conns, newConn(e.Conn, e.Loop, e.Tuple))
		}
		m.Events = append(m.Events, event{
			Loop: e.Loop, Kind: e.Kind.String(), At: e.At, Duration: e.Duration, Conn: e.Conn, N: e.N, Of: e.Of, Text: e.String(),
		})
	}
	return m
}

// tellOpen adds what is open, and names those that were not yet by the last time; it returns what to pass the next time.
func (m *message) tellOpen(l look, before map[string]bool) map[string]bool {
	if l.open == nil {
		return nil
	}
	m.Open = &open{At: l.at, IDs: []string{}}
	now := make(map[string]bool, len(l.open))
	for _, c := range l.open {
		m.Open.IDs = append(m.Open.IDs, c.ID)
		now[c.ID] = true
		if !before[c.ID] {
			m.Conns = append(m.Conns, c)
		}
	}
	return now
}

func (m *message) empty() bool { return len(m.Events) == 0 && m.Lost == 0 && m.Stats == nil }

func newConn(id uint64, loop int, t reactor.FourTuple) conn {
	c := conn{ID: strconv.FormatUint(id, 10), Loop: loop}
	if t != (reactor.FourTuple{}) {
		c.Local, c.Remote = t.Local.String(), t.Remote.String()
	}
	return c
}

func newStats(from *reactor.Stats) *stats {
	s := &stats{Sockets: []socket{}}
	for i := range from.Loops {
		l := &from.Loops[i]
		told := loopStats{Conns: l.Conns, Stuck: l.Stale}
		if l.EventTime != nil {
			told.Busy = int64(l.EventTime.Sum)
		}
		s.Loops = append(s.Loops, told)
	}
	for _, l := range from.Listeners {
		s.Sockets = append(s.Sockets, socket{Network: l.Network, Address: l.Address, Packets: l.Packets, Accepts: l.Accepts})
	}
	return s
}

// encode cannot fail: there is nothing in what it is given that JSON lacks.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
