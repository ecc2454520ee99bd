// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package offload

import (
	"context"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/valyala/bytebufferpool"
)

// A FrameHandler answers frames, on workers. It serves any number of connections, so its methods are called by many
// goroutines at a time.
type FrameHandler interface {
	// Frame answers one frame, and may block. ctx is done when the connection closes. frame is valid, and may be
	// written to, until Frame returns, and as long as reply if that is part of it.
	//
	// reply is sent as a frame, in the order of the requests; nil sends nothing, an empty one an empty frame. It is
	// not to be changed afterwards. An error closes the connection as Close does, after reply has been sent; Close
	// gets it. Frames that came later are not answered then.
	Frame(ctx context.Context, ref reactor.Ref, frame []byte) (reply []byte, err error)
}

// A Closer is a FrameHandler that wants to hear of the end of its connections.
type Closer interface {
	// Close is Close of reactor.Handler: on the connection's loop, where nothing may block. Work for the connection
	// may still be running, with its context done.
	Close(c *reactor.Conn, err error)
}

// FrameFunc makes a FrameHandler of a function.
type FrameFunc func(ctx context.Context, ref reactor.Ref, frame []byte) (reply []byte, err error)

// Frame calls f.
func (f FrameFunc) Frame(ctx context.Context, ref reactor.Ref, frame []byte) ([]byte, error) {
	return f(ctx, ref, frame)
}

// Frames makes a Handler that cuts the stream into frames with dec and has h answer each on a worker of p; the answers
// are framed by enc. Like that of reactor.Frames the value holds no state of a connection. h hears of Shutdown if it is a
// reactor.Drainer.
//
// While a connection has more output than its high-water mark, replies wait and count in its queue. What a peer sent
// before it shut down its writing half is answered; then the connection closes, with io.EOF or, inside a frame, a
// *codec.TruncatedError.
func Frames(p *Pool, dec codec.Decoder, enc codec.Encoder, h FrameHandler) reactor.Handler {
	f := &frames{pool: p, enc: enc, handler: h}
	f.closer, _ = h.(Closer)
	f.drainer, _ = h.(reactor.Drainer)
	return reactor.Frames(dec, f)
}

// frames is the reactor's side of a FrameHandler.
type frames struct {
	reactor.FrameBase
	pool    *Pool
	enc     codec.Encoder
	handler FrameHandler
	closer  Closer          // handler, if it is one; or nil
	drainer reactor.Drainer // the same
}

// copies are of frames, which are the loop's only until Frame returns.
var copies bytebufferpool.Pool

func (f *frames) Frame(c *reactor.Conn, payload []byte) error {
	t := &request{service: f, frame: copies.Get()}
	t.frame.B = append(t.frame.B, payload...)
	err := f.pool.give(c, t)
	if err != nil {
		copies.Put(t.frame)
	}
	return err
}

func (f *frames) Writable(c *reactor.Conn) { f.pool.writable(c) }

func (f *frames) Close(c *reactor.Conn, err error) {
	if f.closer != nil {
		f.closer.Close(c, err)
	}
}

func (f *frames) Draining(c *reactor.Conn) {
	if f.drainer != nil {
		f.drainer.Draining(c)
	}
}

// A request is a task that is a frame to be answered.
type request struct {
	service *frames
	frame   *bytebufferpool.ByteBuffer
	reply   []byte // may be part of frame
	err     error
}

func (t *request) run(ctx context.Context, ref reactor.Ref) {
	t.reply, t.err = t.service.handler.Frame(ctx, ref, t.frame.B)
}

func (t *request) size() int     { return len(t.frame.B) + len(t.reply) }
func (t *request) patient() bool { return true }

func (t *request) deliver(c *reactor.Conn, err error) {
	defer copies.Put(t.frame)
	if err == nil && t.reply != nil {
		err = c.Send(t.service.enc, t.reply)
	}
	if err == nil {
		err = t.err
	}
	if err != nil {
		_ = c.CloseWithError(err)
	}
}
