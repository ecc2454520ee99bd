// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package load

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

// DatagramConfig says what datagrams do.
type DatagramConfig struct {
	Endpoint Endpoint
	Sockets  int
	Depth    int
	Rate     float64
	Tape     *Tape
	Threads  int
}

// lostAfter is how long an answer may take before it counts as lost, in ns. Over loopback nothing is lost but by full
// buffers.
const lostAfter = int64(1e9)

// Datagrams are connected UDP sockets whose answers are the datagrams that were sent.
type Datagrams struct {
	config  DatagramConfig
	threads []*datagramThread
}

type datagramThread struct {
	*thread
	tape     *Tape
	sockets  []*datagramSocket
	due      int64
	schedule *schedule
	turn     int
	swept    int64
}

// A datagramSocket has sent the messages up to sent and awaits the first of them that was not answered.
type datagramSocket struct {
	fd          int
	sent, await int64
	asked       times
	lost        bool // something was, so that late answers may come
}

// DialDatagrams makes the sockets.
func DialDatagrams(c DatagramConfig) (*Datagrams, error) {
	t, err := newTarget(c.Endpoint)
	if err != nil {
		return nil, err
	}
	d := &Datagrams{config: c}
	for i := range max(min(c.Threads, c.Sockets), 1) {
		th, err := newThread(i)
		if err != nil {
			d.Close()
			return nil, err
		}
		d.threads = append(d.threads, &datagramThread{thread: th, tape: c.Tape})
	}
	for i := range c.Sockets {
		fd, err := t.connect(i)
		if err == nil {
			th := d.threads[i%len(d.threads)]
			first := int64(c.Tape.start(i) / c.Tape.Size)
			th.sockets = append(th.sockets, &datagramSocket{fd: fd, sent: first, await: first})
			err = th.poller.add(fd, int32(len(th.sockets)-1), false)
		}
		if err != nil {
			d.Close()
			return nil, fmt.Errorf("socket %d of %d to %s: %w", i+1, c.Sockets, c.Endpoint, err)
		}
	}
	return d, nil
}

// Close closes the sockets.
func (d *Datagrams) Close() {
	for _, t := range d.threads {
		for i, s := range t.sockets {
			t.poller.remove(s.fd, int32(i))
			unix.Close(s.fd)
		}
		t.poller.close()
	}
}

// Run measures over a window.
func (d *Datagrams) Run(w *Window) *Result {
	others := newBarrier(len(d.threads))
	inParallel(len(d.threads), func(i int) { d.threads[i].run(w, others, d.config) })
	all := newResult()
	for _, t := range d.threads {
		all.add(t.result)
	}
	return all
}

func (t *datagramThread) run(w *Window, others *barrier, c DatagramConfig) {
	begin := func() {
		if t.schedule = newSchedule(c.Rate, t.index, others.threads); t.schedule != nil {
			return
		}
		for _, s := range t.sockets {
			t.ask(s, c.Depth, clock())
		}
	}
	t.open(w, others, begin)
	begin()
	for t.advance(&t.due); t.phase != over; t.advance(&t.due) {
		until := t.next
		if t.schedule != nil && t.asking() {
			t.askScheduled()
			until = t.schedule.next()
		}
		for _, e := range t.wait(min(until, t.swept+lostAfter/4)) {
			t.read(t.sockets[e.slot], t.schedule == nil)
		}
		if now := clock(); now-t.swept > lostAfter/4 {
			t.swept = now
			t.sweep(now, t.schedule == nil)
		}
	}
	if t.due > 0 {
		t.result.Missing(t.due, "%d answers had not come %v after the last request", t.due, Patience)
	}
}

func (t *datagramThread) askScheduled() {
	for now := clock(); t.schedule.next() <= now; t.schedule.request++ {
		t.ask(t.sockets[t.turn%len(t.sockets)], 1, t.schedule.next())
		t.turn++
		if t.phase == measuring {
			observe(t.result.Late, clock()-t.schedule.next())
		}
	}
}

// ask sends n more requests.
func (t *datagramThread) ask(s *datagramSocket, n int, at int64) {
	for range n {
		s.asked.push(at)
		t.due++
		if _, err := send(s.fd, t.tape.message(s.sent)); err != nil {
			t.result.fail("a datagram could not be sent: %v", err) // it will count as lost
		}
		s.sent++
	}
}

func (t *datagramThread) read(s *datagramSocket, closed bool) {
	n, err := receive(s.fd, t.buf)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if err != nil { // ICMP's answer to an earlier send
		t.result.fail("reading a datagram: %v", err)
		return
	}
	at, ok := t.find(s, t.buf[:n])
	if !ok {
		if !s.lost {
			t.result.Wrong(1, "an answer of %d bytes is none of the %d that were awaited", n, s.sent-s.await)
			t.settle(s, s.await, closed) // it stands for the first of them
		}
		return
	}
	t.lose(s, at-s.await)
	t.settle(s, at, closed)
}

// find returns which awaited message p is, usually the first.
func (t *datagramThread) find(s *datagramSocket, p []byte) (int64, bool) {
	for at := s.await; at < s.sent; at++ {
		if bytes.Equal(p, t.tape.message(at)) {
			return at, true
		}
	}
	return 0, false
}

// settle records the answer to message at, which is the first awaited.
func (t *datagramThread) settle(s *datagramSocket, at int64, closed bool) {
	if s.await == s.sent {
		return
	}
	now := clock()
	t.answered(s.asked.pop(), now)
	s.await = at + 1
	t.due--
	if closed && t.asking() {
		t.ask(s, 1, now)
	}
}

// lose gives up the first n awaited messages.
func (t *datagramThread) lose(s *datagramSocket, n int64) {
	if n == 0 {
		return
	}
	for range n {
		s.asked.pop()
	}
	s.await += n
	t.due -= n
	s.lost = true
	t.result.Missing(n, "a datagram was not answered")
}

// sweep looks for answers that are late enough to be lost, and has closed loops ask again.
func (t *datagramThread) sweep(now int64, closed bool) {
	for _, s := range t.sockets {
		n := int64(0)
		for n < s.asked.len() && now-s.asked.at(n) > lostAfter {
			n++
		}
		t.lose(s, n)
		if closed && t.asking() {
			t.ask(s, int(n), now)
		}
	}
}
