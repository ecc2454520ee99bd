// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package chapter holds the chapters of the course to their programs.
package chapter

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/examples/study/internal/study"
)

// Test holds the chapter that is named like the folder of the test to the program there: the console block that
// begins with "go run" is what run prints, where variable, if not nil, matches what differs from run to run, and each
// block of Go stands like that in one of the folder's files.
func Test(t *testing.T, run func(w io.Writer, ways ...string), variable *regexp.Regexp) {
	folder, err := os.Getwd()
	require.NoError(t, err)
	name := filepath.Base(folder)
	text, err := os.ReadFile("../../../docs/course/" + name + ".md")
	require.NoError(t, err)

	var out bytes.Buffer
	run(&out, study.ALoop, study.Goroutines, study.TheReactor)
	shown := Blocks(string(text), "console", "$ go run ./examples/study/"+name+"\n")
	require.Len(t, shown, 1, "blocks of output")
	fixed := func(s string) string {
		if variable == nil {
			return s
		}
		return variable.ReplaceAllString(s, "~")
	}
	require.Equal(t, fixed(out.String()), fixed(shown[0]), "the output in the chapter is not the program's")

	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var source strings.Builder
	for _, file := range files {
		code, err := os.ReadFile(file)
		require.NoError(t, err)
		source.Write(code)
	}
	excerpts := Blocks(string(text), "go", "")
	require.NotEmpty(t, excerpts)
	for _, block := range excerpts {
		require.Contains(t, source.String(), block, "no file of %s has this block of the chapter", name)
	}
}

// Blocks returns the fenced blocks of a language that begin with a prefix, less the prefix.
func Blocks(text, language, prefix string) (blocks []string) {
	for {
		var found bool
		if _, text, found = strings.Cut(text, "\n```"+language+"\n"); !found {
			return blocks
		}
		block, rest, _ := strings.Cut(text, "\n```\n")
		if block, found = strings.CutPrefix(block+"\n", prefix); found {
			blocks = append(blocks, block)
		}
		text = "\n" + rest
	}
}
