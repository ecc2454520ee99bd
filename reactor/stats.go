// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"maps"
	"reflect"
	"slices"
	"time"
)

// statsPatience is how long Stats waits for loops to come back from their handlers.
const statsPatience = time.Second

// Stats is what a reactor has done so far and holds now. Counters begin at 0 with the reactor and never fall.
//
// How often a loop waited for events is not among them: gnet's poller tells nobody when it waits.
type Stats struct {
	Time      time.Time       `json:"time"`      // when this was put together
	Conns     int64           `json:"conns"`     // stream connections open, or about to be, as MaxConns counts them
	Buffered  int64           `json:"buffered"`  // bytes held, as MaxBuffered counts them
	Loops     []LoopStats     `json:"loops"`     // by their number
	Listeners []ListenerStats `json:"listeners"` // in the order in which they began to listen; without those closed by Listener.Close
}

// Total sums the loops' counters, closes and codecs, stale ones included.
func (s *Stats) Total() (n Counters, closes CloseCounts, codecs []CodecStats) {
	byName := map[string]*CodecStats{}
	for i := range s.Loops {
		l := &s.Loops[i]
		addFields(&n, &l.Counters)
		for reason, count := range l.Closes {
			closes[reason] += count
		}
		for _, c := range l.Codecs {
			if sum := byName[c.Codec]; sum != nil {
				addFields(sum, &c)
			} else {
				byName[c.Codec] = &c
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		codecs = append(codecs, *byName[name])
	}
	return n, closes, codecs
}

// addFields adds the counters of from, all its uint64, to those of a struct of the same type.
func addFields[T any](to, from *T) {
	dst, src := reflect.ValueOf(to).Elem(), reflect.ValueOf(from).Elem()
	for i := range dst.NumField() {
		if dst.Field(i).Kind() == reflect.Uint64 {
			dst.Field(i).SetUint(dst.Field(i).Uint() + src.Field(i).Uint())
		}
	}
}

// LoopStats is one loop's part, taken down at one moment between two of its steps.
type LoopStats struct {
	Loop int `json:"loop"` // its number, from 0

	// Stale says that the loop did not answer, being held by a handler or asked from another loop: then all but Conns,
	// Lingering and Mailbox are what it last answered, at Time, or 0 if it never has.
	Stale bool      `json:"stale"`
	Time  time.Time `json:"time"`

	Conns     int   `json:"conns"`     // connections of this loop, or on their way to it; dials and sockets of DialPacket count
	Lingering int   `json:"lingering"` // connections that only linger
	Mailbox   int   `json:"mailbox"`   // tasks that wait, but for those that the loop has taken out to run
	Timers    int   `json:"timers"`    // deadlines of connections, each counted once, and timers of AfterFunc
	Unsent    int64 `json:"unsent"`    // bytes of output in the connections' queues; what is in the mailbox is not

	Counters
	Closes CloseCounts  `json:"closes"` // connections that ended, by what their handler's Close got
	Codecs []CodecStats `json:"codecs"` // for the decoders of handlers made by Frames that have met input, by name

	// TimerLag is how late timers ran, the earliest of those that ran together.
	TimerLag Histogram `json:"timer_lag"`

	// TaskLag is how long the mailbox's tasks waited, the first of those that were taken together. nil without
	// Options.Measure.
	TaskLag *Histogram `json:"task_lag,omitempty"`

	// EventTime is how long the loop took for each event, handlers included: its Sum is how long the loop was busy, its
	// Count is Events but for one in progress. nil without Options.Measure.
	EventTime *Histogram `json:"event_time,omitempty"`
}

// Counters are a loop's.
type Counters struct {
	Events    uint64 `json:"events"`     // what the poller reported: a descriptor that is ready, or the loop's own wake-up
	Turns     uint64 `json:"turns"`      // of these, wake-ups, for the mailbox, timers and connections to look at again; Stats takes one
	Tasks     uint64 `json:"tasks"`      // tasks of the mailbox that were run, Stats' own included
	TimersRun uint64 `json:"timers_run"` // deadlines that were looked at, of which most had moved on, and timers that ran

	Reads         uint64 `json:"reads"`          // receiving calls on stream connections
	ShortReads    uint64 `json:"short_reads"`    // of these, those that brought less than there was room for
	ReadAgains    uint64 `json:"read_again"`     // of these, those that brought nothing (EAGAIN)
	BytesReceived uint64 `json:"bytes_received"` // by stream connections

	Writes       uint64 `json:"writes"`        // sending calls on stream connections
	ShortWrites  uint64 `json:"short_writes"`  // of these, those that took a part
	WriteAgains  uint64 `json:"write_again"`   // of these, those that took nothing (EAGAIN)
	BytesSent    uint64 `json:"bytes_sent"`    // by stream connections, as far as the kernel took them
	BytesUnsent  uint64 `json:"bytes_unsent"`  // bytes that Write or Send took and that were lost, see UnsentError
	BytesDropped uint64 `json:"bytes_dropped"` // received by lingering connections and discarded; not in BytesReceived

	Pauses    uint64 `json:"pauses"`     // calls of Conn.Pause that stopped delivery
	HighWater uint64 `json:"high_water"` // times that output passed a high-water mark, which stops delivery
	Pressure  uint64 `json:"pressure"`   // times that reading stopped because of MaxBuffered

	Accepts  uint64 `json:"accepts"`  // connections that the loop's listening sockets accepted and MaxPerPeer let in, for itself or other loops
	Opens    uint64 `json:"opens"`    // connections for which the loop has a handler, or had
	Refusals uint64 `json:"refusals"` // connections that their accept func refused
	TooLate  uint64 `json:"too_late"` // connections that came after Shutdown's patience, or to a loop that had ended
	Ends     uint64 `json:"ends"`     // connections whose peer shut down its writing half

	Panics       uint64 `json:"panics"`        // panics and Goexits in handlers, those of datagrams included
	SlowHandlers uint64 `json:"slow_handlers"` // events that took longer than Options.SlowHandler
}

// ReadPauses returns how often reading stopped for any of the three reasons.
func (n *Counters) ReadPauses() uint64 { return n.Pauses + n.HighWater + n.Pressure }

// CodecStats are the frames that one kind of decoder found on one loop.
type CodecStats struct {
	// Codec is the decoder's type: fixed, lengthField and so on for those of package codec, else with its package.
	// What comes after the 16th kind in a process is counted as "other".
	Codec string `json:"codec"`

	Frames    uint64 `json:"frames"`    // handed to Frame
	Partial   uint64 `json:"partial"`   // times that input ended inside a frame
	TooLong   uint64 `json:"too_long"`  // *codec.TooLongError
	Malformed uint64 `json:"malformed"` // *codec.MalformedError
	Truncated uint64 `json:"truncated"` // streams that ended inside a frame
	Other     uint64 `json:"other"`     // other errors of a decoder
}

// ListenerStats are one listener's, all its sockets together.
type ListenerStats struct {
	Network string `json:"network"`
	Address string `json:"address"`

	// Stale says that the loop of one of the sockets did not answer, so that its part is as it last was.
	Stale bool `json:"stale"`

	Accepts    uint64            `json:"accepts"`                 // connections accepted
	AtMaxConns uint64            `json:"at_max_conns"`            // times that accepting stopped because MaxConns were open
	Errors     map[string]uint64 `json:"accept_errors,omitempty"` // failed calls of accept(2) by their errno, ECONNABORTED say; not EAGAIN

	// PeerLimited is how many connections were refused because their peer had MaxPerPeer open. They are among Accepts.
	PeerLimited uint64 `json:"peer_limited"`

	// RateLimited is how often accepting stopped because of AcceptRate; who came meanwhile waited in the backlog.
	RateLimited uint64 `json:"rate_limited"`

	Packets   bool        `json:"packets"`   // it is a packet listener, of which Datagrams tells; the others accept connections
	Datagrams PacketStats `json:"datagrams"` // all its sockets together
}

// Stats takes the loops down, each at one moment, by way of their mailboxes. It waits for loops that are busy, for at
// most a second: what did not answer is marked Stale. Called on a loop it has that loop's at once and does not wait
// for the others. After Shutdown the final values remain.
func (r *Reactor) Stats() Stats {
	views := r.views()
	s := Stats{Time: time.Now(), Conns: r.conns.Load(), Buffered: r.buffered.Load()}
	for i, l := range r.loops {
		v := views[i].LoopStats
		v.Loop, v.Conns, v.Lingering, v.Mailbox = i, int(l.load.Load()), int(l.lingering.Load()), l.mailbox.length()
		s.Loops = append(s.Loops, v)
	}
	for _, lis := range r.listening.all() {
		s.Listeners = append(s.Listeners, lis.sum(views))
	}
	return s
}

// Stats is the listener's part of Reactor.Stats, and as that waits for its loops. Once it is closed the final values
// remain.
func (lis *Listener) Stats() ListenerStats {
	select {
	case <-lis.closed: // no loop counts any more
		s := lis.sum(nil)
		for _, socket := range lis.sockets {
			s.add(socketStats(socket))
		}
		return s
	default:
		return lis.sum(lis.reactor.views())
	}
}

// sum adds up what the loops have said of the listener.
func (lis *Listener) sum(views []loopView) ListenerStats {
	s := ListenerStats{Network: lis.network, Address: lis.addr.String()}
	_, streams := lis.sockets[0].(*acceptor)
	s.Packets = !streams
	if lis.limits != nil {
		s.PeerLimited, s.RateLimited = lis.limits.refusals.Load(), lis.limits.waits.Load()
	}
	if views == nil {
		return s
	}
	for _, l := range lis.loops {
		v := views[l.index]
		s.Stale = s.Stale || v.Stale
		s.add(v.listeners[lis])
	}
	return s
}

func (s *ListenerStats) add(part ListenerStats) {
	addFields(s, &part)
	addFields(&s.Datagrams, &part.Datagrams)
	for errno, n := range part.Errors {
		if s.Errors == nil {
			s.Errors = map[string]uint64{}
		}
		s.Errors[errno] += n
	}
}
