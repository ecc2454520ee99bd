// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package offload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

// The defaults of Options.
const (
	DefaultWorkers     = 256
	DefaultQueue       = 16
	DefaultParallel    = 1
	DefaultQueueBytes  = 1 << 20
	DefaultMaxBuffered = 256 << 20
)

const (
	maxWorkers = 1 << 20 // more would only be a mistake in the unit
	maxQueue   = 1 << 16

	// stuckAfter is how long Close waits, beyond its context, for work whose context is done.
	stuckAfter = 2 * time.Second

	// The waits of a worker whose connection's loop has a full mailbox.
	retryFirst   = time.Millisecond
	retryLongest = 50 * time.Millisecond
)

var (
	// ErrPoolClosed is returned for work given to a pool after Close, and is the cause of the contexts of work that
	// Close did not wait for.
	ErrPoolClosed = errors.New("offload: pool closed")

	// ErrQueueFull is returned by Do for a connection whose queue is full.
	ErrQueueFull = errors.New("offload: queue of the connection full")
)

// Options configures a Pool. The zero value is ready for use; each field's zero value is the default named there.
type Options struct {
	// Workers bounds the goroutines that work at a time; 1 to 1048576. 0 means 256.
	Workers int

	// Queue bounds the work outstanding for one connection: waiting, running, or done with an answer that has not had
	// its turn. 1 to 65536; 0 means 16.
	Queue int

	// Parallel bounds how much of one connection's work runs at a time; at most Queue. 0 means 1: one after the other.
	Parallel int

	// QueueBytes is the number of bytes, of frames waiting or running and replies that were not written, at which a
	// connection's input stops and no more of its work is begun. One frame, and Parallel replies, may pass it. 0
	// means 1 MiB; -1 no limit.
	QueueBytes int

	// MaxBuffered is the number of such bytes of all connections together at which each connection with work
	// outstanding gets no more. 0 means 256 MiB; -1 no limit.
	MaxBuffered int64

	// Logger gets the stacks of panics. nil means slog.Default().
	Logger *slog.Logger
}

// resolve returns a copy with the defaults filled in, or what is wrong.
func (o Options) resolve() (Options, error) {
	if o.Workers == 0 {
		o.Workers = DefaultWorkers
	}
	if o.Queue == 0 {
		o.Queue = DefaultQueue
	}
	if o.Parallel == 0 {
		o.Parallel = DefaultParallel
	}
	switch o.QueueBytes {
	case 0:
		o.QueueBytes = DefaultQueueBytes
	case -1:
		o.QueueBytes = math.MaxInt
	}
	switch o.MaxBuffered {
	case 0:
		o.MaxBuffered = DefaultMaxBuffered
	case -1:
		o.MaxBuffered = math.MaxInt64
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	switch {
	case o.Workers < 0 || o.Workers > maxWorkers:
		return o, fmt.Errorf("offload: Workers is %d, must be 0 to %d", o.Workers, maxWorkers)
	case o.Queue < 0 || o.Queue > maxQueue:
		return o, fmt.Errorf("offload: Queue is %d, must be 0 to %d", o.Queue, maxQueue)
	case o.Parallel < 0 || o.Parallel > o.Queue:
		return o, fmt.Errorf("offload: Parallel is %d, must be 0 to Queue, which is %d", o.Parallel, o.Queue)
	case o.QueueBytes < 0:
		return o, fmt.Errorf("offload: QueueBytes is %d, must be positive, 0 for the default or -1 for none", o.QueueBytes)
	case o.MaxBuffered < 0:
		return o, fmt.Errorf("offload: MaxBuffered is %d, must be positive, 0 for the default or -1 for none", o.MaxBuffered)
	}
	return o, nil
}

// A Pool is a bounded number of goroutines and the queues of the connections that have work for them. It may serve
// connections of several reactors. Its methods may be called from any goroutine.
type Pool struct {
	opts Options

	mu       sync.Mutex
	idle     sync.Cond              // signalled when a worker or a queue has gone
	queues   map[reactor.Ref]*queue // of the connections that have had work
	first    *queue                 // of those that have work to begin, in turn
	last     *queue
	workers  int   // goroutines
	waiting  int   // work not begun
	running  int   // work begun and not done
	buffered int64 // bytes, see Options.MaxBuffered
	closed   bool
}

// New makes a pool. It has no goroutine until there is work.
func New(o Options) (*Pool, error) {
	o, err := o.resolve()
	if err != nil {
		return nil, err
	}
	p := &Pool{opts: o, queues: make(map[reactor.Ref]*queue)}
	p.idle.L = &p.mu
	return p, nil
}

// Close takes no more work and waits for what it has: until all of it is done or ctx is. In the latter case the
// contexts of what runs are done too, with ErrPoolClosed, what has not begun is dropped, and Close returns an error that
// says how much, after at most 2 s more for work that does not heed its context. A reactor that uses the pool is shut
// down first. Close may be called again; it must not be called on a loop, nor in work.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.await(ctx, func() bool { return p.waiting+p.running == 0 })
	var err error
	if n := p.waiting + p.running; n > 0 {
		err = fmt.Errorf("offload: %d pieces of work abandoned, %d of them running: %w", n, p.running, context.Cause(ctx))
	}
	for _, q := range p.queues {
		q.cancel(ErrPoolClosed)
	}
	patience, cancel := context.WithTimeout(context.Background(), stuckAfter)
	defer cancel()
	if !p.await(patience, func() bool { return p.workers+len(p.queues) == 0 }) {
		return fmt.Errorf("offload: %d pieces of work do not end: %w", p.running, ErrPoolClosed)
	}
	return err
}

// await waits, with p.mu held, until done or ctx is, and says whether done.
func (p *Pool) await(ctx context.Context, done func() bool) bool {
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.idle.Broadcast()
	})
	defer stop()
	for !done() && ctx.Err() == nil {
		p.idle.Wait()
	}
	return done()
}

// enlist gives q its turn if it has work to begin, and starts a worker if there may be one more. p.mu is held.
func (p *Pool) enlist(q *queue) {
	if q.listed || !q.mayBegin() {
		return
	}
	q.listed = true
	if p.last == nil {
		p.first = q
	} else {
		p.last.after = q
	}
	p.last = q
	if p.workers < p.opts.Workers {
		p.workers++
		go p.work()
	}
}

// take begins the next piece of work. A queue with more goes to the end of the list.
func (p *Pool) take() (*queue, *item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.first != nil {
		q := p.first
		if p.first = q.after; p.first == nil {
			p.last = nil
		}
		q.after, q.listed = nil, false
		if q.mayBegin() {
			it := q.begin()
			p.enlist(q)
			return q, it
		}
	}
	p.workers--
	p.idle.Broadcast()
	return nil, nil
}

// work is a worker.
func (p *Pool) work() {
	ended := false
	defer func() {
		if !ended { // Goexit: another takes the place
			go p.work()
		}
	}()
	for q, it := p.take(); q != nil; q, it = p.take() {
		p.run(q, it)
	}
	ended = true
}

// run is the only place where work is entered, and where its panics end.
func (p *Pool) run(q *queue, it *item) {
	completed := false
	defer func() {
		if !completed {
			value := recover()
			if value == nil {
				value = reactor.ErrGoexit // the rest of the goroutine's deferred calls follow
			}
			it.crash = &reactor.PanicError{Value: value, Stack: debug.Stack()}
			p.opts.Logger.Error("offload: work panicked", "conn", q.ref.Tuple().String(), "id", q.ref.ID(),
				"value", value, "stack", string(it.crash.Stack))
		}
		q.done(it)
	}()
	it.run(q.ctx, q.ref)
	completed = true
}
