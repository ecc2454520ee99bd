// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package demo has clients that show, slowly, what can happen to a connection: for whoever watches the server, on its
// live page say. They are slow, not the server.
package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/quartet-go/quartet/codec"
)

// What the clients send, and how much the one that does not read in time asks for.
const (
	greeting = "what a long way to send a word"
	much     = 12 << 20 // more than the kernel takes in for a client that does not read
	piece    = 60 << 10 // as a frame with a 2-byte length can be

	noProgress = 200 * time.Millisecond // after which a server that takes nothing has stopped reading
)

// Run has one client of each kind connect to a stream server, again and again, until ctx is done and all have ended.
// Between two steps of a client pass step. What enc can frame is sent in frames; nil means bytes as they are. A server
// that does not answer as the clients hope is as good to watch.
func Run(ctx context.Context, network, address string, enc codec.Encoder, step time.Duration) {
	var clients sync.WaitGroup
	for i, play := range []func(*client){(*client).drip, (*client).batch, (*client).halfClose, (*client).hoard, (*client).quit, (*client).idle} {
		clients.Go(func() {
			for pause(ctx, time.Duration(1+i)*step) {
				c, err := dial(ctx, network, address, enc, step)
				if err != nil {
					continue // it may be full, and is asked again
				}
				play(c)
				_ = c.Close()
			}
		})
	}
	clients.Wait()
}

// pause waits, unless ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A client is one connection to the server.
type client struct {
	net.Conn
	ctx  context.Context
	enc  codec.Encoder
	step time.Duration
	stop func() bool
}

func dial(ctx context.Context, network, address string, enc codec.Encoder, step time.Duration) (*client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // whatever it waits for
	return &client{Conn: conn, ctx: ctx, enc: enc, step: step, stop: stop}, nil
}

func (c *client) Close() error {
	c.stop()
	return c.Conn.Close()
}

func (c *client) wait(steps int) bool { return pause(c.ctx, time.Duration(steps)*c.step) }

// frame returns payload as the server wants it.
func (c *client) frame(payload []byte) []byte {
	if c.enc != nil {
		if framed, err := c.enc.AppendFrame(nil, payload); err == nil {
			return framed
		}
	}
	return payload
}

// listen reads until the end, beside what else the client does.
func (c *client) listen() { go func() { _, _ = io.Copy(io.Discard, c.Conn) }() }

// drip sends frames a byte at a time: partial reads.
func (c *client) drip() {
	c.listen()
	for _, word := range []string{"slow", "but", "steady"} {
		for _, b := range c.frame([]byte(word)) {
			if _, err := c.Write([]byte{b}); err != nil || !c.wait(1) {
				return
			}
		}
		c.wait(2)
	}
}

// batch sends three frames and a half in one piece, and the rest later.
func (c *client) batch() {
	c.listen()
	for range 3 {
		half := c.frame([]byte(greeting))
		cut := len(half) / 2
		all := slices.Concat(c.frame([]byte("one")), c.frame([]byte("two, longer")), c.frame([]byte("three")), half[:cut])
		if _, err := c.Write(all); err != nil || !c.wait(4) {
			return
		}
		if _, err := c.Write(half[cut:]); err != nil || !c.wait(4) {
			return
		}
	}
}

// halfClose shuts down its writing half and still expects the answer.
func (c *client) halfClose() {
	if _, err := c.Write(c.frame([]byte(greeting))); err != nil || !c.wait(3) {
		return
	}
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, c.Conn)
	c.wait(6)
}

// hoard asks for much and reads nothing until the server takes no more of it: output waits there, and its reading stops.
// Then it reads, slowly.
func (c *client) hoard() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(piece)
	}
	read := make(chan struct{})
	stuck := sync.OnceFunc(func() {
		go func() {
			defer close(read)
			for n := int64(1); n > 0 && c.wait(1); {
				n, _ = io.CopyN(io.Discard, c.Conn, 8*piece)
			}
		}()
	})
	for rest := bytes.Repeat(c.frame(make([]byte, piece)), much/piece); len(rest) > 0; {
		_ = c.SetWriteDeadline(time.Now().Add(max(8*c.step, noProgress)))
		n, err := c.Write(rest[:min(piece, len(rest))])
		rest = rest[n:]
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			stuck()
		case err != nil || !pause(c.ctx, c.step/8):
			rest = nil
		}
	}
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	stuck()
	<-read
}

// quit goes in the middle of a frame, without a word.
func (c *client) quit() {
	c.listen()
	frame := c.frame([]byte(greeting))
	if _, err := c.Write(frame[:len(frame)/3]); err != nil || !c.wait(6) {
		return
	}
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}

// idle says one thing and then nothing.
func (c *client) idle() {
	c.listen()
	_, _ = c.Write(c.frame([]byte("hello")))
	c.wait(40)
}
