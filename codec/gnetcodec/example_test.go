// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package gnetcodec_test

import (
	"fmt"
	"io"
	"net"

	"github.com/panjf2000/gnet/v2"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/codec/gnetcodec"
)

// reply is the format of what the server sends.
var reply = codec.LengthPrefix(4, 0)

// A server takes frames of any format and sends their payloads back, each behind a length of four bytes.
type server struct {
	gnet.BuiltinEventEngine
	frames codec.Decoder
	ended  func(error)
}

// A session is what it knows about a connection.
type session struct {
	in  *gnetcodec.Reader
	out *codec.Writer
}

func (s *server) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	c.SetContext(&session{gnetcodec.NewReader(c, s.frames), codec.NewWriter(c, reply)})
	return nil, gnet.None
}

func (s *server) OnTraffic(c gnet.Conn) gnet.Action {
	session := c.Context().(*session)
	action := gnet.None
	for payload, err := range session.in.Frames() {
		if err == nil {
			err = session.out.WriteFrame(payload)
		}
		if err != nil {
			action = gnet.Close // what came before the error is still answered
			break
		}
	}
	if err := session.out.Flush(); err != nil {
		return gnet.Close
	}
	return action
}

func (s *server) OnClose(c gnet.Conn, err error) gnet.Action {
	s.ended(c.Context().(*session).in.End(err))
	return gnet.None
}

// A server on gnet.Run, and a client that breaks off in the middle of a frame.
func Example() {
	address, stop := run(&server{ // gnet.Run in a goroutine of its own
		frames: codec.LengthPrefix(2, 64<<10),
		ended:  func(err error) { fmt.Println("server:", err) },
	})

	c, err := net.Dial("tcp", address)
	if err != nil {
		panic(err)
	}
	fmt.Fprint(c, "\x00\x05hello"+"\x00\x00"+"\x00\x05wor")
	_ = c.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(c)
	stop()
	fmt.Printf("client: %q %v\n", answer, err)
	// Output:
	// server: codec: stream ended inside a frame, after 5 bytes of at least 7
	// client: "\x00\x00\x00\x05hello\x00\x00\x00\x00" <nil>
}
