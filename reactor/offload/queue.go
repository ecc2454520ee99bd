// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package offload

import (
	"context"
	"net"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

// A task is one piece of work and what becomes of its result.
type task interface {
	// run does the work, on a worker. ctx is done when the connection closes.
	run(ctx context.Context, ref reactor.Ref)

	// deliver has the result have its effect, on the loop of c, in c's order and exactly once unless the reactor has
	// ended. err is not nil if c has closed or the work panicked; run may not have been called then.
	deliver(c *reactor.Conn, err error)

	// size is how many bytes the task keeps, before run and after it.
	size() int

	// patient says that deliver waits while c has more output than it should: somebody calls Pool.writable.
	patient() bool
}

// An item is a task in its queue.
type item struct {
	task
	bytes   int  // as they are accounted for
	ended   bool // done, or skipped
	skipped bool // the queue ended before it was begun
	crash   *reactor.PanicError
}

// A queue is the work of one connection. It begins with the first piece and ends with the connection.
//
//	items    done | running | done | waiting | waiting
//	         delivered from here     begun from here: next
//
// Fields belong to the pool's mutex, but for those under "the loop's".
type queue struct {
	pool   *Pool
	ref    reactor.Ref
	ctx    context.Context
	cancel context.CancelCauseFunc

	items   []*item
	next    int    // the first that was not begun
	running int    // begun and not done
	bytes   int    // of all items
	answers int    // of those that are done
	ended   bool   // nothing more is begun: the connection or the pool has closed
	posted  bool   // deliver is on its way to the loop
	blocked bool   // what is done waits for room in the output
	listed  bool   // in the pool's list
	after   *queue // the next there

	// The loop's own.
	release func() // of Hold, nil without work
	resume  func() // of Suspend, nil unless it is in force
}

// give adds a task to c's queue. On c's loop.
func (p *Pool) give(c *reactor.Conn, t task) error {
	ctx := c.Context()
	if ctx.Err() != nil {
		return net.ErrClosed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrPoolClosed
	}
	q := p.queues[c.Ref()]
	if q == nil {
		q = &queue{pool: p, ref: c.Ref()}
		q.ctx, q.cancel = context.WithCancelCause(ctx)
		p.queues[q.ref] = q
		context.AfterFunc(q.ctx, q.end)
	}
	if q.resume != nil {
		return ErrQueueFull
	}
	it := &item{task: t, bytes: t.size()}
	q.items = append(q.items, it)
	q.account(it.bytes)
	p.waiting++
	if q.release == nil {
		q.release = c.Hold()
	}
	if o := &p.opts; len(q.items) >= o.Queue || q.bytes >= o.QueueBytes || p.buffered >= o.MaxBuffered {
		q.resume = c.Suspend()
	}
	p.enlist(q)
	return nil
}

// account counts n more bytes. Like all methods down to done, it is called with the mutex held.
func (q *queue) account(n int) {
	q.bytes += n
	q.pool.buffered += int64(n)
}

// mayBegin says whether the next item may be run.
func (q *queue) mayBegin() bool {
	o := &q.pool.opts
	return q.next < len(q.items) && q.running < o.Parallel && q.answers < o.QueueBytes && q.ctx.Err() == nil
}

// begin takes the next item to be run.
func (q *queue) begin() *item {
	it := q.items[q.next]
	q.next++
	q.running++
	q.pool.running++
	q.pool.waiting--
	return it
}

// remove takes the first item out if it is done, or returns nil.
func (q *queue) remove() *item {
	if len(q.items) == 0 || !q.items[0].ended {
		return nil
	}
	it := q.items[0]
	q.items[0] = nil
	q.items = q.items[1:]
	q.next--
	q.account(-it.bytes)
	if !it.skipped {
		q.answers -= it.bytes
	}
	q.pool.enlist(q)
	return it
}

// wantsPost says whether the loop has to be told that there is something to deliver.
func (q *queue) wantsPost() bool {
	if q.posted || q.blocked && !q.ended || len(q.items) == 0 || !q.items[0].ended {
		return false
	}
	q.posted = true
	return true
}

// done takes a running item back. On a worker.
func (q *queue) done(it *item) {
	p := q.pool
	n := it.size()
	p.mu.Lock()
	q.running--
	p.running--
	q.account(n - it.bytes)
	q.answers += n
	it.bytes, it.ended = n, true
	p.enlist(q)
	post := q.wantsPost()
	if p.closed {
		p.idle.Broadcast()
	}
	p.mu.Unlock()
	if post {
		q.post()
	}
}

// post has the loop deliver. It waits while the loop has more to do than its mailbox holds, so not on the loop.
func (q *queue) post() {
	for wait := retryFirst; ; wait = min(2*wait, retryLongest) {
		switch err := q.ref.Do(q.deliver); err {
		case nil:
			return
		case reactor.ErrMailboxFull:
			time.Sleep(wait)
		default: // the reactor has ended
			q.drop()
			return
		}
	}
}

// drop forgets what nobody can be told of any more.
func (q *queue) drop() {
	q.pool.mu.Lock()
	defer q.pool.mu.Unlock()
	q.posted = false
	for q.remove() != nil {
	}
}

// end skips what was not begun, when the connection or the pool has closed. On a goroutine of its own.
func (q *queue) end() {
	p := q.pool
	p.mu.Lock()
	q.ended = true
	for _, it := range q.items[q.next:] {
		p.waiting--
		q.account(-it.bytes)
		it.bytes, it.ended, it.skipped = 0, true, true
	}
	q.next = len(q.items)
	post := q.wantsPost()
	p.mu.Unlock()
	if post {
		q.post()
	}
	p.mu.Lock()
	delete(p.queues, q.ref)
	p.idle.Broadcast()
	p.mu.Unlock()
}

// deliver is what the loop was told to do.
func (q *queue) deliver(c *reactor.Conn, _ error) {
	q.pool.mu.Lock()
	q.posted = false
	q.pool.mu.Unlock()
	q.deliverDone(c)
}

// writable delivers what waited for room in c's output. On c's loop.
func (p *Pool) writable(c *reactor.Conn) {
	p.mu.Lock()
	q := p.queues[c.Ref()]
	p.mu.Unlock()
	if q != nil && q.blocked {
		q.deliverDone(c)
	}
}

// deliverDone delivers, in order, what is done. On the loop.
func (q *queue) deliverDone(c *reactor.Conn) {
	returned := false
	defer func() {
		if !returned { // a task's deliver crashed, which closes the connection; the others have to be told yet
			go q.deliverRest()
		}
	}()
	for it := q.nextDone(c); it != nil; it = q.nextDone(c) {
		closed := c.Context().Err() != nil
		switch {
		case it.crash != nil:
			_ = c.CloseWithError(it.crash)
			it.deliver(c, it.crash)
		case closed:
			it.deliver(c, net.ErrClosed)
		case it.skipped:
			it.deliver(c, ErrPoolClosed)
		default:
			it.deliver(c, nil)
		}
	}
	q.letGo()
	returned = true
}

func (q *queue) deliverRest() {
	q.pool.mu.Lock()
	post := q.wantsPost()
	q.pool.mu.Unlock()
	if post {
		q.post()
	}
}

// nextDone removes the next item to be delivered, if its turn has come.
func (q *queue) nextDone(c *reactor.Conn) *item {
	q.pool.mu.Lock()
	defer q.pool.mu.Unlock()
	q.blocked = c.Blocked() && !q.ended && len(q.items) > 0 && q.items[0].patient()
	if q.blocked {
		return nil
	}
	return q.remove()
}

// letGo ends Hold with the last item, and Suspend when half of what stopped the input is done.
func (q *queue) letGo() {
	p := q.pool
	p.mu.Lock()
	o := &p.opts
	empty := len(q.items) == 0
	room := len(q.items) <= o.Queue/2 && q.bytes <= o.QueueBytes/2 && p.buffered < o.MaxBuffered
	p.mu.Unlock()
	if q.resume != nil && (empty || room) {
		q.resume()
		q.resume = nil
	}
	if q.release != nil && empty {
		q.release()
		q.release = nil
	}
}
