// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package load

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

// StreamConfig says what streams do.
type StreamConfig struct {
	Endpoint Endpoint
	Conns    int
	Active   int // how many of them Run uses, 0 for all
	Depth    int
	Rate     float64 // requests a second over all, 0 for a closed loop
	Tape     *Tape
	Threads  int
}

// Streams are connections whose answers are the bytes that were sent. Its methods are for one goroutine.
type Streams struct {
	config  StreamConfig
	threads []*streamThread
}

// streamThread is one thread's share.
type streamThread struct {
	*thread
	tape     *Tape
	conns    []*stream
	due      int64 // answers to come, of all connections
	schedule *schedule
	turn     int // whose request is next in an open loop
}

// A stream is one connection. sent and received are positions on the tape.
type stream struct {
	fd       int
	slot     int32
	sent     int64
	received int64
	wanted   int64 // position up to which is to be sent
	asked    times // of the requests without a complete answer
	blocked  bool  // waiting for room to write
	broken   bool
}

// DialStreams connects. Connections are dealt out to the threads.
func DialStreams(c StreamConfig) (*Streams, error) {
	t, err := newTarget(c.Endpoint)
	if err != nil {
		return nil, err
	}
	s := &Streams{config: c}
	for i := range max(min(c.Threads, c.Conns), 1) {
		th, err := newThread(i)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.threads = append(s.threads, &streamThread{thread: th, tape: c.Tape})
	}
	for i := range c.Conns {
		fd, err := t.connect(i)
		if err == nil {
			th := s.threads[i%len(s.threads)]
			at := int64(c.Tape.start(i))
			conn := &stream{fd: fd, slot: int32(len(th.conns)), sent: at, received: at, wanted: at}
			th.conns = append(th.conns, conn)
			err = th.poller.add(fd, conn.slot, false)
		}
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("connection %d of %d to %s: %w", i+1, c.Conns, c.Endpoint, err)
		}
	}
	return s, nil
}

// Close closes the connections.
func (s *Streams) Close() {
	for _, t := range s.threads {
		for _, c := range t.conns {
			if !c.broken {
				t.poller.remove(c.fd, c.slot)
				unix.Close(c.fd)
			}
		}
		t.poller.close()
	}
}

// Exchange sends one message on every connection and waits for the answers. Window times are not used.
func (s *Streams) Exchange() *Result {
	return s.each(func(t *streamThread) {
		t.open(&Window{}, nil, nil)
		t.phase, t.begun, t.next = measuring, clock(), clock()+int64(patience)
		now := clock()
		for _, c := range t.conns {
			t.ask(c, 1, now)
		}
		for t.due > 0 && clock() < t.next && t.phase == measuring {
			t.turnOnce(t.next, false)
		}
		t.result.Seconds = float64(clock()-t.begun) / 1e9
		t.giveUp()
	})
}

// Run measures over a window. What the connections exchanged before goes on where it ended.
func (s *Streams) Run(w *Window) *Result {
	active := s.config.Active
	if active == 0 {
		active = s.config.Conns
	}
	others := newBarrier(len(s.threads))
	return s.each(func(t *streamThread) {
		n := (active + len(s.threads) - 1 - t.index) / len(s.threads) // the first ones, as they were dealt out
		t.run(w, others, t.conns[:n], s.config)
	})
}

func (s *Streams) each(f func(t *streamThread)) *Result {
	inParallel(len(s.threads), func(i int) { f(s.threads[i]) })
	all := newResult()
	for _, t := range s.threads {
		all.add(t.result)
	}
	return all
}

func (t *streamThread) run(w *Window, others *barrier, active []*stream, c StreamConfig) {
	begin := func() {
		if t.schedule = newSchedule(c.Rate, t.index, others.threads); t.schedule != nil {
			return
		}
		now := clock()
		for _, conn := range active {
			t.ask(conn, c.Depth, now)
		}
	}
	t.open(w, others, begin)
	begin()
	for t.advance(&t.due); t.phase != over; t.advance(&t.due) {
		until := t.next
		if t.schedule != nil && t.asking() {
			t.askScheduled(active)
			until = t.schedule.next()
		}
		t.turnOnce(until, t.schedule == nil)
	}
	t.giveUp()
}

// askScheduled sends the requests whose time has come, the connections taking turns.
func (t *streamThread) askScheduled(active []*stream) {
	for now := clock(); t.schedule.next() <= now; t.schedule.request++ {
		c := active[t.turn%len(active)]
		t.turn++
		if c.broken {
			t.result.Missing(1, "a request was due on a broken connection")
			continue
		}
		t.ask(c, 1, t.schedule.next())
		if t.phase == measuring {
			observe(t.result.Late, clock()-t.schedule.next())
		}
	}
}

// turnOnce waits once and handles what is ready. closed says that an answer makes room for the next request.
func (t *streamThread) turnOnce(until int64, closed bool) {
	for _, e := range t.wait(until) {
		c := t.conns[e.slot]
		if e.write && !c.broken {
			t.flush(c)
		}
		if e.read && !c.broken {
			t.read(c, closed)
		}
	}
}

// ask sends n more requests.
func (t *streamThread) ask(c *stream, n int, at int64) {
	if c.broken || n == 0 {
		return
	}
	for range n {
		c.asked.push(at)
	}
	t.due += int64(n)
	c.wanted += int64(n) * int64(t.tape.Size)
	if !c.blocked {
		t.flush(c)
	}
}

// flush sends what is wanted, as far as the socket takes it.
func (t *streamThread) flush(c *stream) {
	for c.sent < c.wanted {
		n, err := send(c.fd, t.tape.from(c.sent, int(min(c.wanted-c.sent, t.tape.ahead()))))
		if err != nil && err != unix.EAGAIN {
			t.broke(c, "writing: %v", err)
			return
		}
		c.sent += int64(n)
		if err != nil {
			break
		}
	}
	if blocked := c.sent < c.wanted; blocked != c.blocked {
		c.blocked = blocked
		if err := t.poller.change(c.fd, c.slot, blocked); err != nil {
			t.broke(c, "poller: %v", err)
		}
	}
}

// read takes what has arrived, once: the poller tells again if there is more.
func (t *streamThread) read(c *stream, closed bool) {
	n, err := receive(c.fd, t.buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil:
		t.broke(c, "reading: %v", err)
		return
	case n == 0:
		t.broke(c, "the server closed the connection")
		return
	}
	got := t.buf[:n]
	if c.received+int64(n) > c.sent {
		t.result.Wrong(1, "%d bytes more than were asked for", c.received+int64(n)-c.sent)
		t.broke(c, "its answers are of no use any more")
		return
	}
	if !bytes.Equal(got, t.tape.from(c.received, n)) {
		t.result.Wrong(t.tape.wrong(c.received, got), "an answer differs from what was sent, between bytes %d and %d of a connection", c.received, c.received+int64(n))
	}
	c.received += int64(n)
	t.complete(c, closed)
}

// complete counts the answers that are whole now.
func (t *streamThread) complete(c *stream, closed bool) {
	outstanding := (c.wanted - c.received + int64(t.tape.Size) - 1) / int64(t.tape.Size)
	whole := c.asked.len() - outstanding
	if whole == 0 {
		return
	}
	now := clock()
	for range whole {
		t.answered(c.asked.pop(), now)
	}
	t.due -= whole
	if closed && t.asking() {
		t.ask(c, int(whole), now)
	}
}

// broke gives a connection up. What it owes is missing.
func (t *streamThread) broke(c *stream, format string, args ...any) {
	n := c.asked.len()
	t.due -= n
	c.asked = times{}
	t.result.Missing(max(n, 1), "a connection broke: "+format, args...)
	t.poller.remove(c.fd, c.slot)
	unix.Close(c.fd)
	c.broken = true
}

// giveUp counts what has not come by the end.
func (t *streamThread) giveUp() {
	if t.due > 0 {
		t.result.Missing(t.due, "%d answers had not come %v after the last request", t.due, Patience)
	}
}
