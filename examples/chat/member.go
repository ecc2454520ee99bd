// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
)

const (
	maxLine = 4 << 10
	maxName = 32 // of members and rooms
)

// lines is what both sides speak. What members say goes out with the name in front.
var lines = codec.Line(maxLine + maxName + len(": "))

// A member is a connection's handler. All on its loop, but for nick, which the hall's mu guards where others read it.
type member struct {
	reactor.FrameBase
	hall *hall
	nick string
	room *room // nil before the first /join
}

// Frame is a line: a command or something said.
func (m *member) Frame(c *reactor.Conn, line []byte) error {
	if len(line) == 0 {
		return nil
	}
	if line[0] == '/' {
		command, argument, _ := strings.Cut(string(line), " ")
		return m.command(c, command, argument)
	}
	switch {
	case m.room == nil:
		return m.tell(c, "nobody hears you, /join a room")
	case len(line) > maxLine:
		return m.tell(c, "that is longer than %d bytes", maxLine)
	case bytes.IndexByte(line, '\r') >= 0:
		return m.tell(c, "a line has no carriage return inside")
	}
	if err := m.room.say(fmt.Appendf(nil, "%s: %s", m.nick, line)); err != nil {
		return m.tell(c, "not said, for there is too much to hear already: %v", err)
	}
	return nil
}

func (m *member) command(c *reactor.Conn, command, argument string) error {
	switch command {
	case "/join":
		if !isName(argument) {
			return m.tell(c, "no name of a room: %.40q", argument)
		}
		if err := m.hall.join(m, c, argument); err != nil {
			return m.tell(c, "not joined: %v", err)
		}
		return m.tell(c, "you are in %s", argument)
	case "/nick":
		if !isName(argument) {
			return m.tell(c, "no name for you: %.40q", argument)
		}
		if err := m.hall.rename(m, argument); err != nil {
			return m.tell(c, "not renamed: %v", err)
		}
		return m.tell(c, "you are %s", argument)
	case "/who":
		if m.room == nil {
			return m.tell(c, "nobody is with you, /join a room")
		}
		some, n := m.hall.who(m.room)
		return m.tell(c, "%d in %s, %d lines missed by the slow: %s", n, m.room.name, m.room.missed.Load(), strings.Join(some, " "))
	}
	return m.tell(c, "no command: %.40q", command)
}

// tell says something to this member alone. One who is too slow for it misses it, or is dropped.
func (m *member) tell(c *reactor.Conn, format string, args ...any) error {
	err := c.Send(lines, fmt.Appendf([]byte("* "), format, args...))
	if errors.Is(err, reactor.ErrOverflow) && !m.hall.drop {
		return nil
	}
	return err
}

// Close is the end of the connection.
func (m *member) Close(c *reactor.Conn, _ error) { m.hall.quit(m, c) }

// isName says whether s is 1 to maxName letters, digits, hyphens and underscores.
func isName(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	return s != "" && len(s) <= maxName && strings.Trim(s, allowed) == ""
}
