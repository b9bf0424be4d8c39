" Breaks and mends decks in Vim or Neovim, and looks at the quickfix list after each save. What is not as it should be
" goes to $RESULT, with `end` after it.

let g:clm_program = $CLM
let g:clm_options = ['--languages', 'en']
execute 'source' fnameescape($PLUGIN)
let s:deck = $COURSE . '/slides/m/topic_010_a/slides_a.py'
let s:other = $COURSE . '/slides/m/topic_020_b/slides_b.py'

function! s:Edit(file, from, to) abort
  execute 'edit' fnameescape(a:file)
  execute '%substitute#\V' . a:from . '#' . a:to . '#'
  silent write
  " The save does not wait for the build.
  call assert_equal('clm: building', ClmStatus())
  call s:Wait()
endfunction

function! s:Save() abort
  silent write
  call s:Wait()
endfunction

function! s:Wait() abort
  let begun = reltime()
  while ClmStatus() ==# 'clm: building'
    sleep 10m
    if reltimefloat(reltime(begun)) > 90
      call add(v:errors, 'the build does not end')
      return
    endif
  endwhile
endfunction

function! s:List() abort
  return map(getqflist(), {_, item -> [fnamemodify(bufname(item.bufnr), ':p'), item.lnum, item.type]})
endfunction

function! s:Story() abort
  " Nothing is wrong, and nothing is listed.
  call s:Edit(s:deck, "print('one')", "print('two')")
  call assert_equal([], s:List())
  call assert_equal('', ClmStatus())

  call s:Edit(s:deck, "print('two')", '1 / 0')
  call assert_equal([[s:deck, 9, 'E']], s:List())
  call assert_match('ZeroDivisionError', getqflist()[0].text)
  call assert_equal('clm: 1E 0W', ClmStatus())
  execute 'edit' fnameescape(s:other)
  cfirst
  call assert_equal([s:deck, 9], [expand('%:p'), line('.')])

  " A file that no output depends on, and one that is in no course.
  execute 'edit' fnameescape($COURSE . '/notes.txt')
  call setline(1, 'notes')
  call s:Save()
  execute 'edit' fnameescape($RESULT . '.other')
  call s:Save()
  call assert_equal([[s:deck, 9, 'E']], s:List())

  " Errors of other decks stay until these are mended.
  call s:Edit(s:other, "print('other')", 'undefined_name')
  call assert_equal([[s:deck, 9, 'E'], [s:other, 9, 'E']], s:List())
  call s:Edit(s:other, '"keep"', '"keeep"')
  call assert_equal([[s:deck, 9, 'E'], [s:other, 8, 'W'], [s:other, 9, 'E']], sort(s:List()))
  call s:Edit(s:deck, '1 / 0', "print('three')")
  call assert_equal([[s:other, 8, 'W'], [s:other, 9, 'E']], sort(s:List()))
  ClmBuild
  call s:Wait()
  call assert_equal([[s:other, 8, 'W'], [s:other, 9, 'E']], sort(s:List()))
  call s:Edit(s:other, 'undefined_name', "print('four')")
  call s:Edit(s:other, 'keeep', 'keep')
  call assert_equal([], s:List())

  " The specification has a column.
  call s:Edit($COURSE . '/course.xml', '</sections>', '</section>')
  call assert_equal([$COURSE . '/course.xml', 'E'], [s:List()[0][0], s:List()[0][2]])
  call assert_true(getqflist()[0].col > 0)
  call s:Edit($COURSE . '/course.xml', '</section></section>', '</section></sections>')
  call assert_equal([], s:List())
endfunction

try
  call s:Story()
catch
  call add(v:errors, v:exception . ' at ' . v:throwpoint)
endtry
call writefile(v:errors + ['end'], $RESULT)
qall!
