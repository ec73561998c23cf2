"""When a film was taken, from the text of the published StudyDate and StudyTime: SQL for DuckDB.

Belongs here: reading the two columns. Does not belong here: what becomes of a row without a time (``linking.py``).
"""

# Both columns may have been floats: 21800506.0, 80556.875. Anything but digits (1e5, -5, 21:30:14) is no date, no time.
_DATE = "trim(StudyDate)"
STUDY_DAY = rf"""
    CASE WHEN regexp_full_match({_DATE}, '[1-9]\d{{7}}(\.0*)?') THEN try_strptime(left({_DATE}, 8), '%Y%m%d') END
"""
# The whole part is read as a number, so that HHMMSS.fff means the same with and without its leading zeros: 5.0 is
# 00:00:05. The fraction is cut after microseconds: rounding could reach the next second, and the next day.
_TIME = "trim(StudyTime)"
_WHOLE = f"TRY_CAST(split_part({_TIME}, '.', 1) AS INTEGER)"
_MICROSECONDS = f"TRY_CAST(rpad(left(split_part({_TIME}, '.', 2), 6), 6, '0') AS BIGINT)"
STUDY_MICROSECONDS = rf"""
    CASE WHEN regexp_full_match({_TIME}, '\d{{1,6}}(\.\d+)?')
              AND {_WHOLE} // 10000 <= 23 AND {_WHOLE} // 100 % 100 <= 59 AND {_WHOLE} % 100 <= 59
         THEN (({_WHOLE} // 10000 * 60 + {_WHOLE} // 100 % 100) * 60 + {_WHOLE} % 100) * 1000000::BIGINT
              + {_MICROSECONDS} END
"""
