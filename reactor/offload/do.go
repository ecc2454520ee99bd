// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package offload

import (
	"context"
	"errors"

	"github.com/quartet-go/quartet/reactor"
)

// Do has work run on a worker of p, and then, with what it returned, then on c's loop. It is called on that loop.
//
// nil means that then is called exactly once, in the order of c's calls of Do, unless the reactor ends first. Its err
// is the one of work; a *reactor.PanicError if work panicked, which closes c; net.ErrClosed if c has closed, when v is
// what work returned, or its zero value if work was not begun, and c is only good for its ID and tuple; and
// ErrPoolClosed if Pool.Close ended before work was begun. then may be nil. The context of work is done when c closes;
// its cause is that of c.Context.
//
// When c's queue is full after the call, c's input stops until half of it is done. Do then returns ErrQueueFull, and
// a handler whose Data makes several calls leaves the rest unconsumed: it is delivered again. Other errors are
// net.ErrClosed if c has closed, and ErrPoolClosed.
func Do[T any](p *Pool, c *reactor.Conn, work func(ctx context.Context) (T, error), then func(c *reactor.Conn, v T, err error)) error {
	if work == nil {
		return errors.New("offload: Do without work")
	}
	return p.give(c, &call[T]{work: work, then: then})
}

// A call is a task that Do was given.
type call[T any] struct {
	work func(ctx context.Context) (T, error)
	then func(c *reactor.Conn, v T, err error)
	v    T
	err  error
}

func (t *call[T]) run(ctx context.Context, _ reactor.Ref) { t.v, t.err = t.work(ctx) }
func (t *call[T]) size() int                              { return 0 }
func (t *call[T]) patient() bool                          { return false }

func (t *call[T]) deliver(c *reactor.Conn, err error) {
	if err == nil {
		err = t.err
	}
	if t.then != nil {
		t.then(c, t.v, err)
	}
}
