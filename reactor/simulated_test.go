// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux && quartet_simulated

package reactor_test

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"golang.org/x/sys/unix"
)

var (
	simulatedSeed  = flag.Uint64("simulated.seed", 0, "the only seed to simulate, with its trace")
	simulatedSteps = flag.Int("simulated.steps", 3_000_000, "how many steps to simulate")
)

// choices is where everything random comes from.
type choices struct{ *rand.Rand }

func seeded(seed uint64) choices { return choices{rand.New(rand.NewPCG(seed, 0))} }

// upTo returns 0 to n-1.
func (c choices) upTo(n int) int { return c.IntN(n) }

// chance is true once in so many times.
func (c choices) chance(oneIn int) bool { return c.upTo(oneIn) == 0 }

// A simulation is a reactor, its kernel and all its peers.
type simulation struct {
	choices
	r       *reactor.Reactor
	stream  reactor.StreamOptions
	clock   *reactor.Clock
	baton   chan *simulatedPoller // whoever is about to wait for events
	pollers []*simulatedPoller
	running *simulatedPoller

	files    []*openFile
	queues   []*openFile
	maxFiles int
	peers    []*stream // whose peer is there
	lives    []*life
	serial   int
	calm     bool // nothing fails and peers read everything
	stopping bool // Shutdown has begun
	aborting bool // and its patience is over
	short    bool // of descriptors, since everything was at rest

	dos, dosRun int
	scratch     []byte // what a handler writes
	posted      []byte // what is written elsewhere
	fds         []int
	counts      counts
	faults      []string
	trace       [4096]string
	traced      int
	hash        uint64
	verbose     bool
}

// counts is what happened.
type counts struct{ steps, events, conns, closes, resets, panics, goexits, settled int }

func (c *counts) add(d counts) {
	c.steps += d.steps
	c.events += d.events
	c.conns += d.conns
	c.closes += d.closes
	c.resets += d.resets
	c.panics += d.panics
	c.goexits += d.goexits
	c.settled += d.settled
}

func (k *simulation) now() int64 { return k.clock.Now().UnixNano() }

// note keeps what happens, for the trace of a failure and for comparing runs.
func (k *simulation) note(what string, fd, a, b int) {
	for _, x := range [...]int{len(what), fd, a, b} {
		k.hash = (k.hash ^ uint64(x)) * 1099511628211
	}
	if k.verbose {
		loop := -1
		if k.running != nil {
			loop = k.running.loop
		}
		k.trace[k.traced%len(k.trace)] = fmt.Sprintf("%d: loop %d: %s %d: %d %d", k.traced, loop, what, fd, a, b)
	}
	k.traced++
}

// complain notes a broken promise. The first is what matters.
func (k *simulation) complain(format string, args ...any) {
	k.faults = append(k.faults, fmt.Sprintf("after %d: ", k.traced)+fmt.Sprintf(format, args...))
	if k.verbose && len(k.faults) == 1 {
		for i := max(0, k.traced-len(k.trace)); i < k.traced; i++ {
			fmt.Println(k.trace[i%len(k.trace)])
		}
		fmt.Println(k.faults[0])
	}
}

// fault says whether something unusual is to happen now.
func (k *simulation) fault(oneIn int) bool { return !k.calm && k.chance(oneIn) }

// interlude is between a loop's steps, or between an event and the call that it leads to: the peers go on, and other
// goroutines.
func (k *simulation) interlude(oneIn int) {
	if !k.fault(oneIn) {
		return
	}
	if k.chance(4) {
		k.elsewhere()
	} else {
		k.peer()
	}
}

// newSimulation makes a reactor with everything chosen at random.
func newSimulation(c choices) *simulation {
	k := &simulation{choices: c, baton: make(chan *simulatedPoller)}
	pick := func(of ...int) int { return of[k.upTo(len(of))] }
	high := pick(1, 300, 5000, 64<<10)
	k.stream = reactor.StreamOptions{
		HighWater:    high,
		LowWater:     pick(0, high/2, high),
		MaxInput:     pick(0, 5000, 500),
		MaxOutput:    pick(0, -1, high, high+20_000),
		IdleTimeout:  time.Duration(pick(0, 0, 200, 7000)) * time.Millisecond,
		WriteTimeout: time.Duration(pick(0, 300, 5000)) * time.Millisecond,
	}
	k.stream.FirstByteTimeout = time.Duration(pick(0, 0, 0, 500)) * time.Millisecond
	k.stream.FrameTimeout = time.Duration(pick(0, 0, 0, 700)) * time.Millisecond
	isUnix := k.chance(3)
	if !isUnix {
		k.stream.MaxPerPeer = pick(0, 0, 0, 3)
	}
	k.stream.AcceptRate = pick(0, 0, 0, 30)
	k.stream.ReusePort = !isUnix && k.chance(2)
	o := reactor.Options{Loops: pick(1, 1, 2, 3), MaxConns: pick(0, 0, 2, 6), Logger: slog.New(slog.DiscardHandler)}
	k.maxFiles = 3 + 3 + pick(30, 30, 4, 8)

	reactor.UseKernel(k)
	for range 3 {
		k.open(&openFile{}) // the standard ones
	}
	r, err := reactor.New(o)
	if err != nil {
		panic(err)
	}
	k.r = r
	k.clock = reactor.UseClock(r)
	network := "tcp"
	if isUnix {
		network = "unix"
	}
	fds := make([]int, 1)
	if k.stream.ReusePort {
		fds = make([]int, o.Loops)
	}
	for i := range fds {
		d := &openFile{queue: &backlog{unix: isUnix}}
		fds[i] = k.open(d)
		k.queues = append(k.queues, d)
	}
	if _, err := reactor.ListenSimulated(r, network, netip.MustParseAddrPort("10.1.1.1:80"), fds, k.accepted, &k.stream); err != nil {
		panic(err)
	}
	if k.stream.LowWater == 0 {
		k.stream.LowWater = min(k.stream.HighWater/4, reactor.DefaultLowWater)
	}
	if k.stream.WriteTimeout == 0 {
		k.stream.WriteTimeout = reactor.DefaultWriteTimeout
	}
	reactor.StartLoops(r)
	for range k.pollers {
		<-k.baton
	}
	return k
}

// run goes on for so many steps and then to the end.
func (k *simulation) run() {
	for k.counts.steps < stepsPerRun && len(k.faults) == 0 {
		k.step()
		if k.chance(2000) {
			k.settle()
		}
	}
	if len(k.faults) == 0 {
		k.finish()
	}
}

// step is one thing that happens.
func (k *simulation) step() {
	k.counts.steps++
	switch k.upTo(40) {
	case 1:
		k.connect()
	case 2:
		k.note("clock", 0, 0, 0)
		d := time.Duration(k.upTo(20)) * time.Millisecond
		if k.chance(10) {
			d = time.Duration(k.upTo(3000)) * time.Millisecond
		}
		k.clock.Skip(d)
	case 3, 4, 5, 6:
		k.elsewhere()
	case 7, 8, 9, 10, 11, 12, 13, 14, 15, 16:
		k.peer()
	default:
		if p := k.pollers[k.upTo(len(k.pollers))]; !p.ended {
			k.deliver(p, k.batch(p))
		}
	}
}

// batch takes some of what p has to report, in any order, and at times something that is not true or was long ago.
func (k *simulation) batch(p *simulatedPoller) (batch []occurrence) {
	k.fds = p.ready(k.fds[:0])
	take := len(k.fds)
	if !k.calm {
		for i := range k.fds {
			j := i + k.upTo(len(k.fds)-i)
			k.fds[i], k.fds[j] = k.fds[j], k.fds[i]
		}
		if k.chance(3) {
			take = k.upTo(len(k.fds) + 1)
		}
	}
	for _, fd := range k.fds[:take] {
		d := k.files[fd]
		d.pending = false
		batch = append(batch, occurrence{fd, d.reportable()})
	}
	if k.fault(30) {
		batch = append(batch, occurrence{k.upTo(len(k.files) + 2), uint32(k.upTo(64)) & (unix.EPOLLIN | unix.EPOLLOUT | always)})
	}
	return batch
}

// deliver gives p its events and waits until it wants more.
func (k *simulation) deliver(p *simulatedPoller, batch []occurrence) {
	if len(batch) == 0 {
		return
	}
	k.counts.steps += len(batch) - 1
	k.running = p
	p.batches <- batch
	if <-k.baton != p {
		panic("the baton came from another loop")
	}
	k.running = nil
	if !p.ended {
		if wrong := reactor.Inconsistency(k.r, p.loop); wrong != "" {
			k.complain("%s", wrong)
		}
	}
}

// connect has a new peer connect.
func (k *simulation) connect() {
	d := k.queues[k.upTo(len(k.queues))]
	if len(k.peers) >= 20 || k.files[k.fdOf(d)] != d || len(d.queue.waiting) >= 8 {
		return
	}
	k.serial++
	size := func() int {
		if k.chance(3) {
			return 1 + k.upTo(100)
		}
		if k.chance(8) {
			return 1 + k.upTo(250_000)
		}
		return 1 + k.upTo(60_000)
	}
	s := &stream{serial: k.serial, unix: d.queue.unix, fd: -1, inMax: size(), outMax: size(), moved: k.now(), room: k.now()}
	k.peers = append(k.peers, s)
	d.queue.waiting = append(d.queue.waiting, s)
	d.wake(unix.EPOLLIN)
	k.note("connect", s.serial, 0, 0)
}

// fdOf returns d's number, or 0.
func (k *simulation) fdOf(d *openFile) int {
	for fd, other := range k.files {
		if other == d {
			return fd
		}
	}
	return 0
}

// peer has one of the peers do something.
func (k *simulation) peer() {
	if len(k.peers) == 0 {
		return
	}
	i := k.upTo(len(k.peers))
	s := k.peers[i]
	if s.closed {
		if s.destroyed || s.unread == 0 || k.chance(2) {
			k.peers[i] = k.peers[len(k.peers)-1]
			k.peers = k.peers[:len(k.peers)-1]
		} else {
			s.unread = 0
		}
		return
	}
	if s.gone {
		return
	}
	k.note("peer", s.serial, s.sent, s.unread)
	switch k.upTo(24) {
	case 1:
		if k.chance(3) {
			s.fin = true
			s.d.wake(0)
		}
	case 2:
		if k.chance(6) && !s.unix {
			k.reset(s)
		}
	case 3:
		if k.chance(6) {
			k.hangUp(s)
		}
	case 4:
		s.deaf = !s.deaf
	case 5, 6, 7, 8, 9, 10, 11, 12, 13:
		if s.unread > 0 && !s.deaf {
			k.read(s, 1+k.upTo(s.unread))
		}
	default:
		k.send1(s)
	}
}

// read has the peer read.
func (k *simulation) read(s *stream, n int) {
	s.unread -= n
	k.drained(s)
}

// send1 has the peer send something.
func (k *simulation) send1(s *stream) {
	room := s.inMax - s.arrived()
	if room == 0 || s.fin {
		return
	}
	n := 1 + k.upTo(room)
	if k.chance(2) {
		n = min(n, 1+k.upTo(300))
	}
	s.sent += n
	s.d.wake(unix.EPOLLIN)
}

// elsewhere has another goroutine do something.
func (k *simulation) elsewhere() {
	if len(k.lives) == 0 {
		return
	}
	i := k.upTo(len(k.lives))
	l := k.lives[i]
	if l.closed && k.chance(3) {
		k.lives[i] = k.lives[len(k.lives)-1]
		k.lives = k.lives[:len(k.lives)-1]
	}
	k.note("elsewhere", l.s.fd, 0, 0)
	l.elsewhere()
}

// maxTurns is how many turns loops may take one after the other without a byte read by a peer.
const maxTurns = 2000

// rest delivers events until there are none, while nothing fails and peers read everything.
func (k *simulation) rest() {
	k.calm = true
	for turns := 0; ; turns++ {
		if turns > maxTurns {
			k.complain("the loops find no rest: events %v", k.fds)
			return
		}
		idle := true
		for _, s := range k.peers {
			if s.unread > 0 {
				s.deaf, s.outMax = false, max(s.outMax, 1<<16)
				k.read(s, s.unread)
				idle, turns = false, 0
			}
		}
		for _, p := range k.pollers {
			if p.ended {
				continue
			}
			if batch := k.batch(p); len(batch) > 0 {
				k.deliver(p, batch)
				idle = false
			}
		}
		if idle || len(k.faults) > 0 {
			return
		}
	}
}

// settle lets everything come to rest and checks that nothing was forgotten.
func (k *simulation) settle() {
	k.note("settle", 0, 0, 0)
	k.counts.settled++
	k.rest()
	for range 4 {
		k.clock.Skip(restTime)
		k.rest()
	}
	for _, l := range k.lives {
		if l.opened && !l.closed && len(k.faults) == 0 {
			l.checkRest()
		}
	}
	k.calm, k.short = false, false
}

// restTime is how much time passes between the rests before it is checked that everything came to its end. After it an
// acceptor tries again.
const restTime = 1100 * time.Millisecond

// late says whether a timeout must have come after that: one rest may pass before it counts.
func (l *life) late(timeout time.Duration) bool {
	return timeout > 0 && timeout < restTime*2/3 && l.k.now() >= max(l.bornAt, l.s.moved)+int64(2*restTime)
}

// checkRest checks that nothing is forgotten of a connection when nothing is left to happen.
func (l *life) checkRest() {
	s, wrong := l.s, ""
	switch hungry := !l.paused && len(l.resumes) == 0 && !l.eof && !l.deafened && !l.k.stopping; {
	case l.closing || l.failing:
		wrong = "it was to be closed"
	case l.ifUnheld && len(l.releases) == 0:
		wrong = "it was to be closed after its holds"
	case s.errno != 0 || s.broken && !s.unix:
		wrong = "its socket has failed"
	case l.c.Unsent() > 0:
		wrong = fmt.Sprintf("%d bytes are unsent", l.c.Unsent())
	case l.c.Blocked():
		wrong = "it is blocked"
	case hungry && s.arrived() > 0:
		wrong = fmt.Sprintf("%d bytes have not been received", s.arrived())
	case hungry && s.fin:
		wrong = "EOF has not been called"
	case hungry && l.seen < s.received && l.need <= s.received-l.consumed:
		wrong = fmt.Sprintf("%d bytes have not been delivered, %d are needed", s.received-l.consumed, l.need)
	case l.deafened && (s.arrived() > 0 || s.fin && !s.ended) && !l.k.stopping:
		wrong = "input is left after CloseRead"
	case l.shut && !s.shut:
		wrong = "its end was not sent"
	case len(l.timers) > 0 && l.k.now() > slices.Min(l.timers)+int64(2*time.Millisecond):
		wrong = "a timer was not called"
	case l.late(l.k.stream.IdleTimeout) && !l.ownTimes && len(l.releases) == 0:
		wrong = "its idle timeout has passed"
	case l.late(l.k.stream.FirstByteTimeout) && hungry && s.received == 0 && len(l.releases) == 0:
		wrong = "its first byte is late"
	default:
		return
	}
	l.k.complain("connection %d (descriptor %d) is at rest: %s", l.id, s.fd, wrong)
}

// finish stops the reactor, some way or other, and checks what is left.
func (k *simulation) finish() {
	if k.chance(2) {
		k.stopping = true
		reactor.BeginShutdown(k.r)
		for range k.upTo(300) {
			k.step()
		}
	}
	k.settle()
	if !k.stopping {
		k.stopping = true
		reactor.BeginShutdown(k.r)
		k.rest()
	}
	if !k.chance(3) { // everyone has their way
		for _, l := range k.lives {
			for n := len(l.releases); n > 0; n = len(l.releases) {
				l.releases[n-1]()
				l.releases = l.releases[:n-1]
			}
			if !l.closed {
				l.do(l.resume)
			}
		}
		k.rest()
	}
	k.aborting = true
	reactor.BeginAbort(k.r)
	for range 3 {
		k.rest()
		k.clock.Skip(2 * time.Second)
	}
	if len(k.faults) > 0 {
		return
	}
	for _, p := range k.pollers {
		if !p.ended {
			k.complain("loop %d has not ended", p.loop)
		}
	}
	for fd, d := range k.files[3:] {
		if d != nil {
			k.complain("descriptor %d is left open", fd+3)
		}
	}
	for _, l := range k.lives {
		if l.opened && !l.closed {
			k.complain("Close of connection %d was not called", l.id)
		}
	}
	if k.dos != k.dosRun {
		k.complain("%d functions were given to Do, %d calls were made", k.dos, k.dosRun)
	}
	if left := reactor.Remains(k.r); left != "" {
		k.complain("the reactor is left with %s", left)
	}
}

// simulate runs one simulation.
func simulate(t *testing.T, seed uint64, verbose bool) *simulation {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // what pools return depends on nothing else then
	stuck := time.AfterFunc(patience, func() { panic(fmt.Sprintf("the simulation of seed %d is stuck", seed)) })
	defer stuck.Stop()
	k := newSimulation(seeded(seed))
	k.verbose = verbose
	k.run()
	if len(k.faults) > 0 {
		t.Errorf("seed %d; the flag -simulated.seed=%[1]d shows how it came to this:\n%s", seed, strings.Join(k.faults[:min(4, len(k.faults))], "\n"))
		return k
	}
	_ = k.r.Close()
	return k
}

// stepsPerRun is how many steps one seed lasts.
const stepsPerRun = 4000

// regressions are seeds that found something, each with what it was. A seed stands for the same run only as long as the
// simulation makes the same choices in the same order.
var regressions = []struct {
	seed  uint64
	found string
}{
	{1795401535170976651, "SetHandler was ignored while output of a closing connection waited"},
	{1795401637434470214, "edge-triggered: room for output was forgotten after Goexit"},
	{1795401654268111063, "edge-triggered: output waited for ever after EINTR"},
	{1795401684233801215, "edge-triggered: the error of a connection that paused was not looked for"},
	{1795851514365954142, "edge-triggered: the simulation took a Hold for ended before the loop had heard of its release"},
}

func TestSimulatedRegressions(t *testing.T) {
	for _, r := range regressions {
		t.Run(r.found, func(t *testing.T) { simulate(t, r.seed, false) })
	}
}

func TestSimulated(t *testing.T) {
	if *simulatedSeed != 0 {
		simulate(t, *simulatedSeed, true)
		return
	}
	var sum counts
	first := uint64(time.Now().UnixNano())
	for seed := first; sum.steps < *simulatedSteps && !t.Failed(); seed++ {
		k := simulate(t, seed, false)
		sum.add(k.counts)
	}
	t.Logf("seeds from %d: %+v", first, sum)
}

// TestSimulatedAgain runs seeds twice: without that a seed would be worth nothing.
func TestSimulatedAgain(t *testing.T) {
	for seed := range uint64(50) {
		a := simulate(t, seed, false)
		b := simulate(t, seed, false)
		if a.hash != b.hash {
			t.Errorf("seed %d: %+v, then %+v", seed, a.counts, b.counts)
		}
	}
}
