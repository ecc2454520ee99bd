// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package gnetcodec_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"
	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/codec/gnetcodec"
	"github.com/quartet-go/quartet/codec/internal/conformance"
	"github.com/quartet-go/quartet/internal/unused"
)

// The example's server, over sockets, against the vectors of package codec: as they were recorded, and byte by byte.
func TestConformance(t *testing.T) {
	for _, mode := range []struct {
		name          string
		edgeTriggered bool
	}{{"level-triggered", false}, {"edge-triggered", true}} {
		t.Run(mode.name, func(t *testing.T) {
			ended := make(chan error, 1)
			s := &recorder{
				server:  &server{ended: func(err error) { ended <- err }},
				decoder: make(chan codec.Decoder, 1),
				calls:   make(chan call, 1),
			}
			address, stop := run(s, gnet.WithEdgeTriggeredIO(mode.edgeTriggered))
			defer stop()
			for _, v := range conformance.All(t, "..") {
				if v.Refused() != "" {
					continue
				}
				t.Run(v.ID, func(t *testing.T) {
					frames, kind := v.Expected(t)
					if kind == "" { // here all streams end
						for _, err := range codec.Frames(v.Wire(), v.Decoder(t)) {
							kind = conformance.KindOf(err)
						}
					}
					for _, reads := range [][][]byte{v.Reads, single(v.Wire())} {
						s.decoder <- v.Decoder(t)
						got := s.exchange(t, address, reads)
						err := <-ended
						require.Equal(t, frames, got)
						if kind == "" {
							require.Equal(t, io.EOF, err)
						} else {
							require.Equal(t, kind, conformance.KindOf(err))
						}
					}
				})
			}
		})
	}
}

// A recorder is the example's server with a decoder for each connection, telling of the calls it gets.
type recorder struct {
	*server
	decoder chan codec.Decoder
	calls   chan call
}

type call struct {
	came   int // bytes
	action gnet.Action
}

func (r *recorder) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	c.SetContext(&session{gnetcodec.NewReader(c, <-r.decoder), codec.NewWriter(c, reply)})
	return nil, gnet.None
}

func (r *recorder) OnTraffic(c gnet.Conn) gnet.Action {
	came := c.InboundBuffered()
	action := r.server.OnTraffic(c)
	if c.InboundBuffered() != 0 {
		panic("the Reader left bytes to gnet")
	}
	r.calls <- call{came, action}
	return action
}

// exchange sends each read when the server has had the one before, until it closes the connection or there are no more.
// It returns the frames that came back.
func (r *recorder) exchange(t *testing.T, address string, reads [][]byte) (got [][]byte) {
	c := dial(t, address)
	last := call{action: gnet.None}
	for _, read := range reads {
		_, err := c.Write(read)
		require.NoError(t, err)
		for came := 0; came < len(read) && last.action == gnet.None; came += last.came {
			last = <-r.calls
		}
		if last.action != gnet.None {
			break
		}
	}
	if last.action == gnet.None {
		require.NoError(t, c.CloseWrite())
	}
	for payload, err := range codec.NewReader(c, reply).Frames() {
		require.NoError(t, err)
		got = append(got, append([]byte{}, payload...))
	}
	return got
}

// single cuts wire into reads of one byte.
func single(wire []byte) (reads [][]byte) {
	for i := range wire {
		reads = append(reads, wire[i:i+1])
	}
	return reads
}

func dial(t *testing.T, address string) *net.TCPConn {
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c.(*net.TCPConn)
}

// run serves on a free port. stop returns when gnet.Run has.
func run(handler gnet.EventHandler, options ...gnet.Option) (address string, stop func()) {
	address = unused.Address("tcp") // gnet does not tell the port that 0 becomes
	b := booting{handler, make(chan gnet.Engine, 1)}
	ended := make(chan error, 1)
	go func() { ended <- gnet.Run(b, "tcp://"+address, options...) }()
	select {
	case err := <-ended:
		panic(err)
	case engine := <-b.engine:
		return address, func() {
			if err := engine.Stop(context.Background()); err != nil {
				panic(err)
			}
			if err := <-ended; err != nil {
				panic(err)
			}
		}
	}
}

// booting tells when a handler's engine runs.
type booting struct {
	gnet.EventHandler
	engine chan gnet.Engine
}

func (b booting) OnBoot(engine gnet.Engine) gnet.Action {
	b.engine <- engine
	return gnet.None
}
